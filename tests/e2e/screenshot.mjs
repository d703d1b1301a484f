// node screenshot.mjs URL FOLDER: the site as the documentation shows it, wide and narrow, light and
// dark. The server has indexed the demo's corpus.
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
const SOURCE = '/gemma-2-demo/2-gemmascope-res-2k';
const compared = JSON.stringify([140, 300, 156].map((index) => ({ modelId: 'gemma-2-demo', layer: SOURCE.split('/')[2], index: String(index) })));
const pages = {
  dashboard: `${SOURCE}/140?${new URLSearchParams({ defaulttesttext: 'Is there anything that you want?' })}`,
  stacked: `${SOURCE}/140?view=stacked`, source: SOURCE, search: '/search?q=there',
  compare: `/compare?${new URLSearchParams({ features: compared })}`, model: '/gemma-2-demo',
};
const browser = await launch();
for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 400]) {
    const page = await newPage(browser, { colorScheme, viewport: { width, height: 900 } });
    const shot = (name, fullPage = true) => page.screenshot({ path: join(folder, `${name}-${width}-${colorScheme}.png`), fullPage });
    await page.goto(`${base}/?${new URLSearchParams({ text: TEXT })}`);
    await settled(page);
    await shot('lab');
    await page.locator('.features .feature.wide').first().click();
    await page.locator('#link').waitFor();
    await settled(page);
    await shot('feature');
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(base + path);
      await page.waitForLoadState('networkidle');
      await shot(name, false);
    }
    await page.context().close();
  }
}
await browser.close();
