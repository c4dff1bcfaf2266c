/* Somebody takes the host over at an instant T, with the log's key, the present epoch's key and the disk, and writes the
 * log anew from record `forged_from` on. Which forgeries does a verifier accept who has one epoch key and the witness's
 * key? And what does a witness sign, killed at any step and asked by two at once? README.md says what is checked.
 *
 * A tree is its size and the number of the first forged record (NEVER: honest): two trees have the same root at a size
 * when neither has a forged record below it, or both are forged from the same record on. */

#define MOST 4     /* records before T */
#define NEVER 9
#define SAME_ROOT(size, f, g) (f == g || (f >= size && g >= size))

byte size = 0;           /* the honest log */
byte epoch_start[MOST];  /* size at which epoch k was begun over the honest tree; epoch 0 at 0 */
byte epochs = 1;
bool old_keys_kept = false;

/* the witness: what it keeps durably, and what it has signed */
byte w_size = 0;
byte w_forged = NEVER;
byte signed_forged[MOST + 2]; /* for each size, the tree it signed; NEVER + 1: none */
byte highest_signed = 0;

bool taken_over = false;
byte forged_from = NEVER;

/* One submission to the witness: check against what is kept, persist, answer. Atomic but for the answer. */
inline submit(n, f, old) {
  if
  :: atomic {
#ifndef WITNESS_CHECKS_NOTHING
       old == w_size && n >= w_size && SAME_ROOT(w_size, f, w_forged) ->
#else
       true ->
#endif
#ifdef WITNESS_ANSWERS_BEFORE_IT_PERSISTS
       cosign(n, f);
       if
       :: w_size = n; w_forged = f
       :: skip /* killed before it was durable */
       fi
#else
       w_size = n; w_forged = f;
       if
       :: cosign(n, f)
       :: skip /* killed before it answered */
       fi
#endif
     }
  :: else -> skip /* 409 or 422 */
  fi
}

inline cosign(n, f) {
  assert(signed_forged[n] == NEVER + 1 || SAME_ROOT(n, signed_forged[n], f)); /* P: never two roots of one size */
  assert(n >= highest_signed); /* P: never a size below one it signed */
  signed_forged[n] = f;
  highest_signed = n
}

byte k;

/* What a verifier checks of the forged log of MOST + 1 records: each change of epochs, and the witness's signature. */
inline verify(accepted) {
  accepted = true;
  for (k : 1 .. epochs - 1) {
    /* The change to epoch k was signed over the honest tree of epoch_start[k] records by a key that is gone; the forger
     * can make no other. It holds for a forged tree whose records below that size are honest. */
    if
    :: !old_keys_kept && forged_from < epoch_start[k] -> accepted = false
    :: else
    fi
  };
#ifndef NO_WITNESS_DEMANDED
  if
  :: signed_forged[MOST + 1] != forged_from -> accepted = false /* the witness did not sign this tree */
  :: else
  fi
#endif
}

active proctype world() {
  bool accepted;
  for (k : 0 .. MOST + 1) { signed_forged[k] = NEVER + 1 };
#ifdef KEEPS_OLD_EPOCH_KEYS
  old_keys_kept = true;
#endif
  /* The honest life of the log. */
  do
  :: size < MOST -> size++
  :: size > epoch_start[epochs - 1] && epochs < MOST -> epoch_start[epochs] = size; epochs++
  :: true -> submit(size, NEVER, w_size)
  :: true -> submit(size, NEVER, 0) /* a repeated old request */
  :: size == MOST -> break
  od;
  byte noted = highest_signed; /* the last checkpoint that the witness signed before T */
  taken_over = true;
  /* The forger chooses where to begin, and may ask the witness, also by two requests with different forgeries. */
  if
  :: forged_from = 0
  :: forged_from = 1
  :: forged_from = 2
  :: forged_from = 3
  fi;
  do
  :: true -> submit(MOST + 1, forged_from, w_size)
  :: true -> submit(MOST + 1, NEVER, w_size)
  :: true -> submit(2, forged_from, w_size)
  :: break
  od;
  verify(accepted);
  /* P: what is accepted was honest up to the last change of epochs before T, and up to the last witnessed checkpoint */
  assert(!accepted || forged_from >= epoch_start[epochs - 1]);
  assert(!accepted || forged_from >= noted)
}
