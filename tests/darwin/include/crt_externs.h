/* The part of macOS's header that the Darwin files use. */
#ifndef FAKE_CRT_EXTERNS_H
#define FAKE_CRT_EXTERNS_H

char ***_NSGetEnviron(void);

#endif
