// Asks for the modules of a feature's page all at once, rather than level by level as imports are
// found. A classic script, because modules run after the first paint.
(function () {
  const everywhere = ['api', 'dom', 'format', 'frame', 'indexing', 'paths', 'secret', 'sources'];
  const feature = ['activations', 'dashboard', 'embed', 'explanations', 'feature', 'histogram', 'logits', 'neighbours',
    'passage', 'testbox', 'tip'];
  const isFeature = /^\/[^/]+\/[^/]+\/\d{1,9}\/?$/.test(location.pathname);
  for (const name of isFeature ? everywhere.concat(feature) : everywhere) {
    const link = document.createElement('link');
    link.rel = 'modulepreload';
    link.href = `/${name}.js`;
    document.head.append(link);
  }
})();
