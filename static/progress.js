// What is going on, said before a second has passed, and what went wrong.
import { h } from './dom.js';

const PATIENCE_MS = 250;

/** A line that says what is being waited for and for how long. */
export function progressLine() {
  const text = h('span');
  const seconds = h('span', { class: 'seconds', 'aria-hidden': 'true' });
  const element = h('p', { class: 'progress', role: 'status' }, text, seconds);
  let timer = null;

  function stop() {
    clearInterval(timer);
    timer = null;
    element.classList.remove('on');
    text.textContent = '';
    seconds.textContent = '';
  }
  function start(words) {
    stop();
    const started = performance.now();
    timer = setInterval(() => {
      const waited = performance.now() - started;
      if (waited < PATIENCE_MS) return;
      if (!text.textContent) say(words);
      seconds.textContent = `${(waited / 1000).toFixed(1)} s`;
    }, 100);
  }
  function say(words) {
    element.classList.add('on');
    text.textContent = words;
  }
  return { element, start, say, stop };
}

/** A sentence and, where something can be done about it, a button. */
export function notice() {
  const element = h('div', { class: 'notice', role: 'alert', hidden: true });
  function clear() {
    element.hidden = true;
    element.replaceChildren();
  }
  function say(words, action) {
    element.replaceChildren(h('p', {}, words),
      action ? h('button', { type: 'button', class: 'plain', onclick: action.run }, action.label) : '');
    element.hidden = false;
  }
  return { element, clear, say };
}
