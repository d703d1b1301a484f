/* Letters and numbers of every script (Unicode's categories L* and N*), and words made of them. */
#ifndef DM_BASE_LETTERS_H
#define DM_BASE_LETTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool letters_has(uint32_t character);

/* Whether n bytes of UTF-8 are a word, as Neuronpedia's lens tells words from other tokens: between
 * blanks at either end nothing but letters and numbers, with ', - and U+2019 allowed inside. */
bool letters_word(const char *s, size_t n);

#endif
