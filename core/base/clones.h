/* CLONES before a function compiles it for AVX-512, for AVX2 with FMA and for the plain CPU; the
 * program picks one when it is loaded, so that what is shipped runs everywhere and needs no
 * -march=native. Not under the sanitizers, whose start-up the choice would come before. */
#ifndef DM_BASE_CLONES_H
#define DM_BASE_CLONES_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CLONES_OFF 1
#endif
#endif

#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(CLONES_OFF)
#define CLONES __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define CLONES
#endif

#endif
