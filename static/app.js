// The entry: the frame around every view, and which view the address asks for.
import { openFrame } from './frame.js';

const views = [
  { path: /^\/(index\.html|search-prompt)?$/, open: async (...args) => (await import('./lab.js')).openLab(...args) },
  { path: /^\/search$/, open: async (...args) => (await import('./search.js')).openSearch(...args) },
  { path: /^\/lens$/, open: async (...args) => (await import('./lens.js')).openLens(...args) },
  { path: /^\/steer$/, open: async (...args) => (await import('./steer.js')).openSteer(...args) },
  { path: /^\/attention$/, open: async (...args) => (await import('./attention.js')).openAttention(...args) },
  { path: /^\/attribution$/, open: async (...args) => (await import('./attribution.js')).openAttribution(...args) },
  { path: /^\/residual$/, open: async (...args) => (await import('./residual.js')).openResidual(...args) },
  { path: /^\/tour$/, open: async (...args) => (await import('./tour.js')).openTour(...args) },
  { path: /^\/compare$/, open: async (...args) => (await import('./compare.js')).openCompare(...args) },
  {
    path: /^\/(?<model>[^/]+)\/(?<source>[^/]+)\/(?<index>\d{1,9})\/?$/,
    open: async (...args) => (await import('./feature.js')).openFeature(...args),
  },
  {
    path: /^\/(?<model>[^/]+)\/(?<source>[^/]+)\/report\/?$/,
    open: async (...args) => (await import('./report.js')).openReport(...args),
  },
  {
    path: /^\/(?<model>[^/]+)\/(?<source>[^/]+)\/?$/,
    open: async (...args) => (await import('./source.js')).openSource(...args),
  },
  { path: /^\/(?<model>[^/]+)\/?$/, open: async (...args) => (await import('./model.js')).openModel(...args) },
];

const main = document.getElementById('view');
const view = views.find(({ path }) => path.test(location.pathname));
if (view) {
  const groups = Object.entries(view.path.exec(location.pathname).groups ?? {});
  const names = Object.fromEntries(groups.map(([name, value]) => [name, decodeURIComponent(value)]));
  const frame = openFrame(names);
  view.open(main, frame, names);
} else {
  openFrame({});
  const home = document.createElement('a');
  home.href = '/';
  home.textContent = 'To the prompt lab';
  main.replaceChildren(`There is no page at ${location.pathname}. `, home, '.');
}
