/* Linked into a target's shared library by SIGDCA_OLD_GLIBC. glibc gave these functions new
 * versions (threads when they moved into libc, in 2.34; fstat in 2.33), which the systems of boards
 * lack; the old ones are still there, and behave alike. Only what the library uses is here: a test
 * reads which versions it asks for. The linker's --wrap sends each call of f to __wrap_f. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#else
#define OLDEST "GLIBC_2.17"
#endif

#define OLD(result, name, parameters, arguments)                        \
  result old_##name parameters;                                         \
  __asm__(".symver old_" #name ", " #name "@" OLDEST);                  \
  result __wrap_##name parameters;                                      \
  result __wrap_##name parameters { return old_##name arguments; }

OLD(int, pthread_create,
    (pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *),
     void *argument),
    (thread, attributes, function, argument))
OLD(int, pthread_join, (pthread_t thread, void **result), (thread, result))
OLD(int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old))
OLD(int, pthread_attr_setstacksize, (pthread_attr_t *attributes, size_t bytes),
    (attributes, bytes))

/* Before, fstat was no symbol at all, but inline in its header. */
int __wrap_fstat(int file, struct stat *status);
int __wrap_fstat(int file, struct stat *status) {
  return (int)syscall(SYS_fstat, file, status);
}
