/** What the server is computing, told by its events. */

import type { components } from '../api/schema';
import { address } from '../api/client';
import { SITE } from '../api/files';

export type Job = components['schemas']['JobAbout'];

export class Jobs {
  running: readonly Job[] = $state.raw([]);
  cache: { readonly used: number; readonly cap: number } | null = $state.raw(null);
  /** Whether the server is heard. */
  connected = $state(false);

  /** Listens while the page is open; a site of files tells nothing. Returns what ends it. */
  listen(): () => void {
    if (SITE) return () => undefined;
    const events = new EventSource('api/events');
    events.addEventListener('open', () => (this.connected = true));
    events.addEventListener('error', () => (this.connected = false));
    events.addEventListener('jobs', (event) => {
      const known = JSON.parse(String(event.data)) as Job[] | { jobs: Job[] };
      const jobs = Array.isArray(known) ? known : known.jobs;
      this.running = jobs.filter((job) => job.state === 'waiting' || job.state === 'running');
    });
    events.addEventListener('cache', (event) => {
      this.cache = JSON.parse(String(event.data)) as { used: number; cap: number };
    });
    return () => events.close();
  }

  async cancel(id: number): Promise<void> {
    await fetch(address(`api/jobs/${id}`), { method: 'DELETE' });
  }
}
