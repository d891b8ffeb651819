import { mount } from 'svelte';
import '../../src/vitscope/rendering/pages/static/tokens.css';
import './styles/base.css';
import './styles/page.css';
import { readView } from './codec/view-url';
import App from './shell/App.svelte';
import { linkWithUrl, ViewStore } from './state/view.svelte';

const view = new ViewStore(readView(location.hash));
linkWithUrl(view);
const target = document.getElementById('app');
if (target) mount(App, { target, props: { view } });
