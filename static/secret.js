// Asks for the server's secret (DARKMATTER_SECRET), once for all requests that were refused together.
import { h } from './dom.js';

let asking = null;

function ask(wrong) {
  return new Promise((resolve) => {
    const input = h('input', {
      type: 'password', id: 'secret', autocomplete: 'current-password', required: true,
    });
    const dialog = h('dialog', { 'aria-labelledby': 'secret-title' },
      h('form', { method: 'dialog', onsubmit: () => dialog.close(input.value) },
        h('h2', { id: 'secret-title' }, 'This server asks for a secret'),
        h('p', {}, wrong ? 'The one that was sent is not the right one.'
          : 'It is what DARKMATTER_SECRET was when the server started. It is kept for this tab only.'),
        h('label', { for: 'secret' }, 'Secret'), input,
        h('div', { class: 'actions' },
          h('button', { type: 'button', class: 'plain', onclick: () => dialog.close('') }, 'Cancel'),
          h('button', { type: 'submit', class: 'primary' }, 'Continue'))));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** @returns {Promise<string|null>} null: the person would rather not */
export function askSecret(wrong) {
  asking ??= ask(wrong).finally(() => {
    asking = null;
  });
  return asking;
}
