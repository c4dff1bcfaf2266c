/* The change of the log's epoch key: prepare the next key, record the change, destroy the old key, rename; killed at any
 * step, and with a commit that fails before or after it stored. README.md says what is checked. Key numbers are epoch
 * numbers plus one; 0 is no key, a file that was overwritten counts as no key. */

#define CHANGES 3
#define DAMAGED 99

byte logged = 0;  /* durable: the latest epoch that a record began */
byte present = 0; /* epoch.key: which epoch's private key it holds */
byte upcoming = 0; /* epoch.next.key */
byte kills = 0;
bool serving = false; /* the writer signs */
byte signing = 0;

#define SOME_FILE_CAN_SIGN (logged == 0 || present == logged || upcoming == logged)

inline killed() {
  /* A kill at any step, up to three times; the daemon comes back and settles. */
  if
  :: kills < 3 -> kills++; serving = false; goto start
  :: true
  fi
}

inline promote() {
  present = DAMAGED; assert(SOME_FILE_CAN_SIGN); /* overwritten where it lies */
  killed();
  present = 0; assert(SOME_FILE_CAN_SIGN);       /* removed */
  killed();
  atomic { present = upcoming; upcoming = 0; assert(SOME_FILE_CAN_SIGN) } /* rename(2) is one step */
}

active proctype daemon() {
start:
  /* settle: the log says which file is the key */
  if
  :: logged != 0 && upcoming == logged && present != logged -> promote()
  :: else -> upcoming = 0
  fi;
  killed();
  assert(logged == 0 || present == logged); /* P: after a start the key that the log names is there */
  serving = true;
  do
  :: logged < CHANGES ->
#ifdef RECORDS_BEFORE_KEY_IS_DURABLE
     logged++;
     assert(SOME_FILE_CAN_SIGN);
     killed();
     upcoming = logged;
#else
     upcoming = DAMAGED;        /* the file is there, half written */
     killed();
     upcoming = logged + 1;     /* durable */
     killed();
#ifdef DESTROYS_BEFORE_RECORDING
     present = 0;
     assert(SOME_FILE_CAN_SIGN);
     killed();
#endif
     if
     :: logged++                /* the commit went through */
     :: logged++; serving = false; goto start /* it failed, but was stored: the store is opened again */
     :: serving = false; goto start           /* it failed and was not stored */
     fi;
#endif
     assert(SOME_FILE_CAN_SIGN); /* P: at every instant some file holds the key that the log names */
     killed();
#ifndef KEEPS_THE_OLD_KEY
     promote();
#else
     atomic { signing = upcoming; upcoming = present; present = signing };
#endif
     killed();
     /* P: once the change is over, no file holds an earlier epoch's key, and the present one signs */
     assert(present == logged && upcoming == 0)
  :: logged == CHANGES -> break
  od
}
