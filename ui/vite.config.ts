import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

/** Where `make app` runs the server that `npm run dev` asks for data. */
const server = process.env.VITSCOPE_SERVER ?? 'http://127.0.0.1:7860';

export default defineConfig({
  plugins: [svelte()],
  // Relative, so that the page works behind any base path and from a folder of files.
  base: './',
  build: {
    outDir: '../src/vitscope/app/page',
    emptyOutDir: true,
    target: 'es2022',
    // Nothing inline: the page is served under `default-src 'self'`.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 300,
  },
  server: {
    fs: { allow: ['..'] },
    proxy: {
      '/api': {
        target: server,
        changeOrigin: true,
        // The page comes from another port than the server, which rightly refuses that as a foreign origin.
        configure: (proxy) => proxy.on('proxyReq', (request) => request.removeHeader('origin')),
      },
    },
  },
  test: { include: ['tests/**/*.test.ts'], environment: 'node' },
});
