// The commands that give what the page shows.
import { hasSecret } from './api.js';
import { h } from './dom.js';

const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** One command line for bash. */
export function command(path, body) {
  const secret = hasSecret() ? ' \\\n  -H "X-SECRET-KEY: $DARKMATTER_SECRET"' : '';
  if (body === undefined) return `curl -s ${location.origin}${path}${secret}`;
  return `curl -s ${location.origin}${path}${secret} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quote(JSON.stringify(body))}`;
}

export function curlPanel() {
  const list = h('div');
  const element = h('details', { class: 'curl' }, h('summary', {}, 'curl: the same from a shell'), list);

  /** calls: [{title, path, body}] */
  function show(calls) {
    list.replaceChildren(...calls.map(({ title, path, body }) => {
      const text = command(path, body);
      const copy = h('button', {
        type: 'button', class: 'plain', 'aria-label': `Copy the command: ${title}`,
        onclick: async () => {
          try {
            await navigator.clipboard.writeText(text);
            copy.textContent = 'Copied';
          } catch {
            // Without https or permission the text is selected instead, ready for Ctrl+C.
            getSelection().selectAllChildren(code);
            copy.textContent = 'Selected';
          }
          setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
        },
      }, 'Copy');
      const code = h('pre', { tabindex: '0', role: 'region', 'aria-label': title }, text);
      return h('div', { class: 'command' }, h('h3', {}, title), copy, code);
    }));
  }
  return { element, show };
}
