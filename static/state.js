// What the page shows, as its address: ?source=…&feature=…&sort=3,5&density=0.01&dark=off&text=…

// Longer addresses are refused by some servers on the way; history.state carries the text then.
const LINK_LIMIT = 6000;

/** @typedef {{text: string, source: string, feature: number|null, marked: number[], density: number|null, dark: boolean}} State */

const share = (text) => (Number(text) > 0 && Number(text) < 1 ? Number(text) : null);

const natural = (text) => (/^\d{1,9}$/.test(text ?? '') ? Number(text) : null);

/** The state in the address; text is null where it says nothing. */
export function read() {
  const query = new URLSearchParams(location.search);
  const marked = (query.get('sort') ?? '').split(',').map(natural);
  return {
    text: query.get('text') ?? history.state?.text ?? null,
    source: query.get('source') ?? '',
    feature: natural(query.get('feature')),
    marked: marked.filter((position) => position !== null),
    density: share(query.get('density')),
    dark: query.get('dark') !== 'off',
  };
}

/** The address of a state; `whole` is false if the text was too long to be in it. */
export function link(state) {
  const query = new URLSearchParams();
  if (state.source) query.set('source', state.source);
  if (state.feature !== null) query.set('feature', state.feature);
  if (state.marked.length) query.set('sort', state.marked.join(','));
  if (state.density !== null) query.set('density', state.density);
  if (!state.dark) query.set('dark', 'off');
  const text = new URLSearchParams({ text: state.text }).toString();
  const whole = text.length <= LINK_LIMIT;
  const parts = [query.toString(), whole ? text : ''].filter(Boolean);
  return { url: `${location.pathname}?${parts.join('&')}`, whole };
}

/** Puts the state into the address, as a new entry of the history if it differs and `push`. */
export function write(state, { push }) {
  const { url } = link(state);
  const changed = url !== location.pathname + location.search || state.text !== read().text;
  if (push && changed) history.pushState({ text: state.text }, '', url);
  else history.replaceState({ text: state.text }, '', url);
}

export function onBack(listener) {
  window.addEventListener('popstate', () => listener(read()));
}
