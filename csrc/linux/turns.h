/* Being let in soon on a busy machine. */
#ifndef MW_LINUX_TURNS_H
#define MW_LINUX_TURNS_H

/* Asks for short turns on the processor, of the calling thread: they come
   sooner, and cost others nothing. With all processors busy it halves what a
   job loses to the guardian. Linux 6.12; others do not care. */
void mw_take_short_turns(void);

#endif
