/** Code that runs in worker threads: a source file in development, an asset inside the single executable. */
import { getAsset, isSea } from 'node:sea'
import { IS_BUNDLED } from './version.ts'

/** Source files of the workers, by name; scripts/build.ts bundles each as `<name>-worker.cjs`. */
export const WORKERS = { dataplane: './agent/dataplane/worker.ts' } as const
export type WorkerName = keyof typeof WORKERS

/**
 * For `new Worker(...)`: pass `code` with `{ eval: true }`, or `url`.
 * @throws Error when the executable was built without that worker
 */
export const workerSource = (name: WorkerName): { code: string; eval: true } | { url: URL } => {
  if (isSea()) return { code: getAsset(`${name}-worker.cjs`, 'utf8'), eval: true }
  return { url: new URL(IS_BUNDLED ? `./${name}-worker.cjs` : WORKERS[name], import.meta.url) }
}
