// The colours of numbers other than activations. Sky is a share of one (a probability, an attention
// weight), as strong as it is large. Signed numbers are orange above 0 and violet below, which those who
// cannot tell red from green tell apart. Votes keep the colours that they have on a feature's page.

const SHARE = [96, 165, 250];
const SIGNED = { light: [[109, 40, 217], [234, 88, 12]], dark: [[167, 139, 250], [251, 146, 60]] };
const HOT = 0.68; // from here on the token's text turns dark on a dark page

const theme = () => (document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light');

/** How strong a share is drawn: small ones are still seen. */
export const shareAlpha = (share) => Math.min(1, Math.max(0, share)) ** 0.6;

/** Paints an element's background by a share of one. */
export function paintShare(element, share) {
  const alpha = shareAlpha(share);
  element.style.backgroundColor = alpha > 0.03 ? `rgba(${SHARE.join(', ')}, ${alpha.toFixed(3)})` : '';
  element.classList.toggle('hot', alpha > HOT);
}

/** [r, g, b, alpha 0..255] of a share. */
export const sharePixel = (share) => [...SHARE, Math.round(255 * shareAlpha(share))];

/** A function from numbers to pixels; `limit` and beyond are drawn in full. */
export function signedPixel(limit) {
  const [below, above] = SIGNED[theme()];
  return (value) => {
    const part = limit > 0 ? Math.min(1, Math.abs(value) / limit) : 0;
    return [...(value < 0 ? below : above), Math.round(255 * part)];
  };
}

/** The same for votes: emerald for a token, rose against it. */
export function votePixel(limit) {
  return (value) => [...(value < 0 ? [251, 113, 133] : [16, 185, 129]), Math.round(limit > 0 ? 255 * Math.min(1, Math.abs(value) / limit) : 0)];
}

/** The magnitude that all but the largest `share` of the numbers stay under. */
export function magnitude(data, share = 0.01) {
  const sizes = Float32Array.from(data, Math.abs).sort();
  return sizes[Math.max(0, Math.ceil(sizes.length * (1 - share)) - 1)] || sizes[sizes.length - 1];
}

/** Calls draw again when the theme changes, as long as the element is on the page. */
export function redrawn(element, draw) {
  const watch = new MutationObserver(() => {
    if (element.isConnected) draw();
    else watch.disconnect();
  });
  watch.observe(document.documentElement, { attributeFilter: ['data-theme'] });
}
