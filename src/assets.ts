/** What comes along with the code, workers and BPF objects: files in development, assets inside the single executable. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { getAsset, isSea } from 'node:sea'
import { fileURLToPath } from 'node:url'
import { ShuntError } from './errors.ts'
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

/**
 * The contents of a BPF object made by scripts/bpf.ts, for `decodeObject`.
 * @throws ShuntError (SHUNT_ERR_CAPABILITY) when shunt was built without it
 */
export const bpfObject = (name: string): string => {
  try {
    return isSea()
      ? getAsset(`bpf/${name}.json`, 'utf8')
      : readFileSync(join(bpfFolder(), `${name}.json`), 'utf8')
  } catch (cause) {
    throw new ShuntError(
      'SHUNT_ERR_CAPABILITY',
      `this build of shunt has no BPF programs: install clang, bpftool and libbpf-dev where it is built, then make`,
      { cause },
    )
  }
}

/** A worker's bundle is CommonJS, which has __dirname and no import.meta; the others have both, or import.meta only. */
const bpfFolder = (): string =>
  IS_BUNDLED
    ? join(__dirname, '..', 'bpf')
    : join(dirname(fileURLToPath(import.meta.url)), '..', 'dist', 'bpf')
