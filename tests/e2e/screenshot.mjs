// node screenshot.mjs URL FOLDER: the prompt lab as the documentation shows it, wide and narrow,
// light and dark.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { launch, newPage, settled } from './browser.mjs';

const [base, folder] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node screenshot.mjs http://127.0.0.1:5002 FOLDER');
  process.exit(2);
}
mkdirSync(folder, { recursive: true });

const TEXT = 'In the beginning God created the heaven and the earth.';
const browser = await launch();
for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 400]) {
    const page = await newPage(browser, { colorScheme, viewport: { width, height: 900 } });
    await page.goto(`${base}/?${new URLSearchParams({ text: TEXT })}`);
    await settled(page);
    const shot = (name) => page.screenshot({
      path: join(folder, `${name}-${width}-${colorScheme}.png`), fullPage: true,
    });
    await shot('lab');
    await page.locator('.features .feature.wide').first().click();
    await page.locator('#link').waitFor();
    await settled(page);
    await shot('feature');
    await page.context().close();
  }
}
await browser.close();
