// What the tests of the site share: the server's own answers, and an address in a fresh profile.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { newPage } from './browser.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** @param server of startServer; browser of launch */
export function site(server, browser) {
  /** What curl gives. */
  async function ask(path, body) {
    const options = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
    const response = await fetch(server.base + path, body === undefined ? undefined : options);
    assert.equal(response.status, 200, `${path}: ${response.status}`);
    return response.json();
  }

  /** Opens an address in a fresh profile, runs the body, and fails on any error in the console. */
  async function at(path, options, body) {
    const tab = await newPage(browser, options);
    try {
      await tab.goto(server.base + path);
      await body(tab);
      assert.deepEqual(tab.problems, []);
    } finally {
      await tab.context().close();
    }
  }
  return { ask, at };
}

/** Options of at() under which accessible() can run. */
export const forAxe = (colorScheme, width) => ({ colorScheme, viewport: { width, height: 900 }, reducedMotion: 'reduce', bypassCSP: true });

// Of long lists of the same kind the beginning and the end: the contrast of a thousand tokens takes axe ten seconds.
const MIDDLES = ['.rows > .row:nth-of-type(n+4):nth-last-of-type(n+4)', '.listing tbody tr:nth-child(n+10)'];

/** Fails on what axe finds serious. */
export async function accessible(tab, what) {
  await tab.addScriptTag({ content: AXE });
  const { violations } = await tab.evaluate((exclude) => globalThis.axe.run({ exclude }), MIDDLES);
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  assert.deepEqual(bad.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).slice(0, 3).join(' ')}`), [], what);
}

export async function fits(tab, what) {
  const { wide, room } = await tab.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth }));
  assert.ok(wide <= room, `${what}: ${wide} > ${room}`);
}

/** Presses Tab until the focus is where it should be. */
export async function tabTo(tab, wanted) {
  for (let i = 0; i < 80; i++) {
    await tab.keyboard.press('Tab');
    if (await tab.evaluate((selector) => document.activeElement.matches(selector), wanted)) return;
  }
  assert.fail(`Tab does not reach ${wanted}`);
}
