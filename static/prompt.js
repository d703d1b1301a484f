// The form: a text, how many tokens it is, a source, and the button.
import { request } from './api.js';
import { h } from './dom.js';
import { options } from './sources.js';

export const EXAMPLES = [
  'The reliability of Wikipedia is very',
  'In the beginning God created the heaven and the earth.',
  'My fellow Americans, our people will work for a better world.',
  'Elizabeth was not the least afraid of the captain or his ship.',
  'Returns true if the current block is empty:\n  if (n == 0) return true;',
];
const COUNT_DELAY_MS = 250;

/**
 * @param onRun the text or source is to be computed; onStop: it no longer is
 * @param verb what the button says; controls: elements beside the source
 */
export function promptForm({ onRun, onStop, verb = 'Run', controls = [], placeholder = 'Type a text to see which features fire on each of its tokens' }) {
  const text = h('textarea', {
    id: 'text', rows: 1, spellcheck: 'false', autocomplete: 'off', 'aria-describedby': 'count',
    placeholder,
  });
  const source = h('select', { id: 'source' });
  const count = h('span', { class: 'count', id: 'count' });
  const button = h('button', { type: 'submit', class: 'primary' }, verb);
  const sourceField = h('span', { class: 'field' }, h('label', { for: 'source' }, 'Source'), source);
  const examples = h('p', { class: 'examples' }, h('span', { class: 'muted' }, 'Try'),
    EXAMPLES.map((example) => h('button', {
      type: 'button', class: 'example', title: example,
      onclick: () => {
        text.value = example;
        changed();
        onRun();
      },
    }, example.split('\n')[0])));
  const element = h('form', { class: 'prompt', 'aria-label': 'Text and source' },
    h('label', { for: 'text', class: 'unseen' }, 'Text'), text,
    h('div', { class: 'controls' }, sourceField, controls, count, button), examples);

  let limit = null;
  let running = false;
  let counting = null;
  let timer = null;

  async function countTokens() {
    counting?.abort();
    counting = new AbortController();
    const { signal } = counting;
    try {
      const { data } = await request('/v1/tokenize', { text: text.value, prepend_bos: true }, { signal });
      count.textContent = `${data.tokens.length} / ${limit} tokens`;
      count.classList.toggle('over', data.tokens.length > limit);
    } catch (error) {
      if (error.name === 'AbortError') return;
      count.textContent = error.status === 0 ? '' : error.message;
      count.classList.toggle('over', error.status !== 0);
    }
  }
  function grow() {
    text.style.height = 'auto';
    text.style.height = `${text.scrollHeight + 2}px`;
  }
  function changed() {
    grow();
    clearTimeout(timer);
    counting?.abort();
    if (text.value === '') {
      count.textContent = '';
      return;
    }
    timer = setTimeout(countTokens, COUNT_DELAY_MS);
  }

  text.addEventListener('input', changed);
  text.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    onRun();
  });
  source.addEventListener('change', onRun);
  element.addEventListener('submit', (event) => {
    event.preventDefault();
    if (running) onStop();
    else onRun();
  });
  window.addEventListener('resize', grow);

  return {
    element,
    text: () => text.value,
    source: () => source.value,
    focus: () => text.focus(),
    /** What capabilities say; no sources: there is nothing to pick. */
    configure(sources, tokenLimit) {
      limit = tokenLimit;
      source.replaceChildren(...options(sources));
      sourceField.hidden = sources.length === 0;
    },
    fill(state) {
      text.value = state.text;
      source.value = state.source;
      changed();
    },
    busy(yes) {
      running = yes;
      button.textContent = yes ? 'Stop' : verb;
      button.classList.toggle('stop', yes);
    },
  };
}
