// Numbers, tokens and the colour of an activation, as everywhere on the site.

/** Two decimals, three where two would print 0.00. The exact number goes beside it. */
export function short(value) {
  if (value === 0) return '0';
  const text = value.toFixed(2);
  return Number(text) === 0 ? value.toFixed(3) : text;
}

/** The number exactly as the server's JSON has it. */
export const exact = (value) => String(value);

/** A token as one line of text: a leading space becomes ␣, a line break ↵. */
export function visible(token) {
  return token.replaceAll('\n', '↵').replaceAll('\t', '⇥').replace(/^ /, '␣');
}

/** Neuronpedia's rule: logarithmic in the share of the maximum, 0.05 for the faintest. Neurons have
 * values of both signs, which are equally bright. */
export function opacity(value, maximum) {
  const size = Math.abs(value);
  if (!(size > 5e-5) || !(maximum > 0)) return 0;
  return Math.min(1, 0.05 + 0.95 * Math.log10(1 + (9 * size) / maximum));
}

/** Paints the element's background, emerald or, below 0, rose; `hot` lets the style sheet turn the text
 * dark on bright colours. */
export function paint(element, value, maximum) {
  const alpha = opacity(value, maximum);
  const dark = value < 0 ? 0.72 : 0.6; // from here on dark text has the better contrast on a dark page
  element.style.backgroundColor = alpha ? `rgba(${value < 0 ? '251, 113, 133' : '52, 211, 153'}, ${alpha.toFixed(3)})` : '';
  element.classList.toggle('hot', alpha > dark);
}

/** A share as Neuronpedia prints densities: "0.238%". */
export const percent = (share) => `${(100 * share).toFixed(3)}%`;

/** 1234567 as "1,234,567". */
export const count = (number) => Number(number).toLocaleString('en-US');

/** A few significant digits for axes and intervals. */
export const brief = (value) => (value === 0 ? '0' : String(Number(value.toPrecision(3))));

export function milliseconds(ms) {
  return ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(2)} s`;
}
