/* How rows are multiplied with weights. */
#ifndef DM_MATH_PRECISION_H
#define DM_MATH_PRECISION_H

/* EXACT: the rows as they are, in fp32. BF16: every element of a row is rounded to bf16 first (to
 * nearest even), the products are summed in fp32; weights that are not BF16 are used as they are.
 * Where the CPU multiplies bf16 itself the order of the sums is another one than elsewhere. */
enum precision { PRECISION_EXACT, PRECISION_BF16 };

/* As --precision and /v1/capabilities have it. */
static inline const char *precision_name(enum precision precision)
{
    return precision == PRECISION_BF16 ? "bf16" : "exact";
}

#endif
