import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

/** One module and one style sheet, as anywidget takes them. */
export default defineConfig({
  plugins: [svelte()],
  publicDir: false,
  define: { 'process.env.NODE_ENV': '"production"' },
  build: {
    outDir: '../src/vitscope/app/widget',
    emptyOutDir: true,
    target: 'es2022',
    cssCodeSplit: false,
    lib: { entry: 'src/widget.ts', formats: ['es'], fileName: () => 'view.js', cssFileName: 'view' },
  },
});
