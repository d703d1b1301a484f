// Debian's Chromium, driven by playwright-core.
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });

/** A fresh profile and page; every console error and uncaught exception is kept in page.problems. */
export async function newPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(String(error)));
  page.on('console', (message) => {
    // A refused request is logged by the browser itself; the tests cause some on purpose.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) {
      page.problems.push(message.text());
    }
  });
  return page;
}

/** Waits until the shown state is computed. */
export async function settled(page) {
  await page.locator('.results:not(.stale)').waitFor();
  await page.locator('button.primary', { hasText: 'Run' }).waitFor();
}
