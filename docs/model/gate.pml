/* The way intent -> effect -> outcome through the gate and the log's writer, with group commit, callers whose patience
 * ends, storage that fails before or after it stored, a kill of the daemon at any step, and recovery (which may itself be
 * killed). README.md says what is checked and which code each step stands for.
 *
 * Accesses 0 and 1 are made in the first life of the daemon, on one resource; access 2 in the second, on the same one.
 * Volatile state goes with the kill: queue, batch, locks, what is owed, whether the gate stopped. */

#define ACCESSES 3
#define LIVES 5 /* 1: serving, 2: recovering, 3: serving, 4: recovering, 5: at rest */

#define NONE 0
#define INTENT 1
#define OUTCOME 2

byte life = 1;
bool killed_recovery = false;

/* durable */
bool intent_stored[ACCESSES];
byte outcomes_stored[ACCESSES];
bool effect[ACCESSES]; /* the world: what libvirt and the disks say */

/* what callers were told, for the properties */
bool intent_acknowledged[ACCESSES];
bool outcome_acknowledged[ACCESSES];

/* volatile */
byte waiting[ACCESSES]; /* a request in the queue, not taken yet */
byte batch[ACCESSES];   /* taken into the commit that is under way */
bool given_up[ACCESSES];
byte answered[ACCESSES]; /* the request that was answered well; NONE while it waits */
bool refused[ACCESSES];   /* it was answered: not durable */
bool owed[ACCESSES];      /* an intent nobody will act on; its outcome comes with the next commit */
byte lock_holder = 0;     /* 0: free; i + 1: held by access i */
bool stopped = false;     /* the gate acts no more (exit code 11) */
byte acting = 0;
byte ended = 0;           /* accesses of this life that came to their end */

inline store(i, what) {
  if
  :: what == INTENT -> intent_stored[i] = true
  :: what == OUTCOME -> outcomes_stored[i]++;
     assert(outcomes_stored[i] <= 1) /* P: one outcome */
  :: else
  fi
}

inline take_batch() {
  batch[0] = (given_up[0] -> NONE : waiting[0]);
  batch[1] = (given_up[1] -> NONE : waiting[1]);
  batch[2] = (given_up[2] -> NONE : waiting[2]);
  waiting[0] = NONE; waiting[1] = NONE; waiting[2] = NONE
}

inline store_owed(i) {
  if
  :: owed[i] -> store(i, OUTCOME); owed[i] = false
  :: else
  fi
}

inline store_batch() {
  store_owed(0); store_owed(1); store_owed(2);
  store(0, batch[0]); store(1, batch[1]); store(2, batch[2])
}

/* After a commit: tell the caller, or take note that nobody will act on what became durable. */
inline answer(i) {
  if
  :: batch[i] == NONE
  :: batch[i] != NONE && !given_up[i] ->
     answered[i] = batch[i];
     if
     :: batch[i] == INTENT -> intent_acknowledged[i] = true
     :: else -> outcome_acknowledged[i] = true
     fi
  :: batch[i] != NONE && given_up[i] ->
     if
#ifndef FORGETS_LATE_INTENTS
     :: batch[i] == INTENT -> owed[i] = true
#endif
     :: else
     fi
  fi;
  batch[i] = NONE
}

/* A commit failed; what it stored all the same is found when the store is opened again. */
inline answer_failure(i) {
  if
  :: batch[i] == NONE
  :: else ->
     if
#ifndef FORGETS_LATE_INTENTS
     :: batch[i] == INTENT && intent_stored[i] -> owed[i] = true
#endif
     :: else
     fi;
     if
     :: !given_up[i] -> refused[i] = true
     :: else
     fi
  fi;
  batch[i] = NONE
}

#define SOMETHING_WAITS (waiting[0] != NONE || waiting[1] != NONE || waiting[2] != NONE || owed[0] || owed[1] || owed[2])

inline write_log() {
  do
  :: SOMETHING_WAITS ->
     atomic { take_batch() };
#ifdef ACKNOWLEDGES_BEFORE_COMMIT
     atomic { answer(0); answer(1); answer(2) };
#endif
     if
     :: true -> atomic { store_batch() }; /* durable */
        atomic { answer(0) }; atomic { answer(1) }; atomic { answer(2) }
     :: true -> atomic { answer_failure(0); answer_failure(1); answer_failure(2) } /* failed, not stored */
     :: true -> atomic { store_batch() }; /* failed, but stored */
        atomic { answer_failure(0); answer_failure(1); answer_failure(2) }
     fi
  od
}

inline ask_log(i, what, well) {
  atomic { given_up[i] = false; refused[i] = false; answered[i] = NONE; waiting[i] = what };
  if
  :: atomic { answered[i] == what -> well = true }
  :: atomic { refused[i] -> well = false }
  :: atomic { answered[i] != what && !refused[i] -> given_up[i] = true; well = false } /* patience ended */
  fi
}

inline pass_gate(i) {
#ifndef TAKES_NO_LOCK
  atomic { lock_holder == 0 -> lock_holder = i + 1 };
#endif
  if
  :: stopped -> skip /* refused: nothing is decided */
  :: !stopped ->
#ifndef ACTS_BEFORE_INTENT
     ask_log(i, INTENT, well);
#ifdef ACTS_THOUGH_PATIENCE_ENDED
     if
     :: given_up[i] -> (intent_stored[i] && !owed[i]); well = true
     :: else
     fi;
#endif
#else
     well = true;
#endif
     if
     :: !well -> skip /* exit code 9: nothing was done */
     :: well ->
        /* The key process looks the intent up in the log by itself, and so does the permit. */
        atomic {
          acting++;
          assert(acting == 1);             /* P: one act at a time on a resource */
          assert(intent_stored[i]);        /* P: no effect without a durable intent */
          assert(outcomes_stored[i] == 0)  /* P: no effect behind its outcome */
        };
        atomic { effect[i] = true; acting-- };
        ask_log(i, OUTCOME, well);
        if
        :: well
        :: else -> stopped = true /* exit code 11 */
        fi
     fi
  fi;
#ifndef TAKES_NO_LOCK
  atomic { lock_holder = 0; ended++ }
#else
  atomic { ended++ }
#endif
}

inline forget() {
  byte k = 0;
  for (k : 0 .. ACCESSES - 1) {
    waiting[k] = NONE; batch[k] = NONE; given_up[k] = false; answered[k] = NONE; refused[k] = false; owed[k] = false
  };
  lock_holder = 0; stopped = false; acting = 0; ended = 0
}

/* Settle each open intent against the real state of the host, by the code that would have acted. */
inline settle(i) {
  if
  :: intent_stored[i] && outcomes_stored[i] == 0 ->
     /* the host is brought to a whole state here; it can be done twice */
     atomic { acting++; assert(acting == 1) }; /* P: one act at a time on a resource */
     atomic { acting--; store(i, OUTCOME) }
  :: else
  fi
}

#define AT_REST(i) (outcomes_stored[i] == (intent_stored[i] -> 1 : 0))

inline check_acknowledged(i) {
  assert(!intent_acknowledged[i] || intent_stored[i]);        /* P: nothing acknowledged is lost */
  assert(!outcome_acknowledged[i] || outcomes_stored[i] == 1)
}

active proctype writer_1() provided (life == 1) { write_log() }
active proctype access_0() provided (life == 1) { bool well; pass_gate(0) }
active proctype access_1() provided (life == 1) { bool well; pass_gate(1) }
active proctype writer_2() provided (life == 3) { write_log() }
active proctype access_2() provided (life == 3) { bool well; pass_gate(2) }

active proctype host() {
  /* The first life ends by a kill at any step, or in peace. */
  if
  :: atomic { ended == 2 && !SOMETHING_WAITS && batch[0] == NONE && batch[1] == NONE ->
       /* P: in a life without a kill and without a stop, no intent stays open */
       assert(stopped || (AT_REST(0) && AT_REST(1)));
       forget(); life = 2 }
  :: atomic { forget(); life = 2 }
  fi;
#ifndef SERVES_BEFORE_SETTLING
  settle(0);
  if
  :: !killed_recovery -> killed_recovery = true; acting = 0; settle(0) /* killed in it, and begun again */
  :: skip
  fi;
  settle(1);
  /* P: when the second life begins, every intent has its outcome */
  atomic { assert(AT_REST(0) && AT_REST(1)); life = 3 };
#else
  life = 3;
  settle(0); settle(1);
#endif
  if
  :: atomic { ended == 1 && !SOMETHING_WAITS && batch[2] == NONE -> forget(); life = 4 }
  :: atomic { forget(); life = 4 }
  fi;
  settle(0); settle(1); settle(2);
  atomic {
    life = 5;
    assert(AT_REST(0) && AT_REST(1) && AT_REST(2)); /* P: at rest each intent has its one outcome */
    assert(!effect[0] || intent_stored[0]);
    assert(!effect[1] || intent_stored[1]);
    assert(!effect[2] || intent_stored[2]);
    check_acknowledged(0); check_acknowledged(1); check_acknowledged(2)
  }
}
