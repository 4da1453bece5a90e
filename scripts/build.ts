/**
 * Builds dist/shunt, one executable that needs nothing else: a bundle of src/main.ts and of each worker, inside a
 * stripped copy of the pinned Node (a "single executable application").
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { type BuildOptions, build, type Plugin } from 'esbuild'
import { WORKERS } from '../src/assets.ts'

const ROOT = join(import.meta.dirname, '..')
const OUT = join(ROOT, 'dist', 'build')
const BPF = join(ROOT, 'dist', 'bpf')
const TARGET = join(ROOT, 'dist', 'shunt')
/** Small young generation: an agent lives long and holds few short-lived objects; saves about 30 MB. */
const NODE_OPTIONS = ['--no-warnings', '--max-semi-space-size=2']

const note = (text: string): void => {
  process.stderr.write(`build: ${text}\n`)
}

/** A hash of what goes into the bundle, so that equal sources say that they are equal. */
const sourceHash = (): string => {
  const hash = createHash('sha256')
  for (const file of [...globSync('src/**/*', { cwd: ROOT }).sort(), 'package-lock.json']) {
    const path = join(ROOT, file)
    if (statSync(path).isFile()) hash.update(`${file}\0`).update(readFileSync(path)).update('\0')
  }
  return hash.digest('hex').slice(0, 12)
}

const common = (): BuildOptions => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  return {
    absWorkingDir: ROOT,
    bundle: true,
    platform: 'node',
    target: 'node26',
    minifySyntax: true,
    minifyWhitespace: true,
    keepNames: true,
    legalComments: 'none',
    define: {
      'process.env.NODE_ENV': '"production"',
      __SHUNT_BUILD__: JSON.stringify({ version, build: sourceHash() }),
    },
    logLevel: 'warning',
  }
}

/** Ink imports React's developer tools, which only a developer of Ink would want. */
const noDevtools: Plugin = {
  name: 'no-devtools',
  setup(bundler) {
    bundler.onResolve({ filter: /^react-devtools-core$/ }, () => ({ path: 'devtools', namespace: 'stub' }))
    bundler.onLoad({ filter: /.*/, namespace: 'stub' }, () => ({ contents: 'export default {}' }))
  },
}

const bundleMain = async (options: BuildOptions): Promise<void> => {
  await build({
    ...options,
    entryPoints: ['src/main.ts'],
    outfile: join(OUT, 'shunt.mjs'),
    format: 'esm',
    plugins: [noDevtools],
    define: { ...options.define, 'process.env.NODE_ENV': '"production"', 'process.env.DEV': '"false"' },
    // CommonJS libraries inside the bundle call require() and read __dirname.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url); const __filename = import.meta.filename; const __dirname = import.meta.dirname;",
    },
  })
}

/** Bundles the workers; answers the assets of the executable. */
const bundleWorkers = async (options: BuildOptions): Promise<Record<string, string>> => {
  const assets: Record<string, string> = {}
  for (const [name, source] of Object.entries(WORKERS)) {
    const entry = join('src', source)
    if (!existsSync(join(ROOT, entry))) {
      note(`no ${entry}: the executable will not have the ${name} worker`)
      continue
    }
    const file = `${name}-worker.cjs`
    await build({
      ...options,
      entryPoints: [entry],
      outfile: join(OUT, file),
      format: 'cjs',
      logOverride: { 'empty-import-meta': 'silent' },
    })
    assets[file] = join(OUT, file)
  }
  return assets
}

/** The BPF objects that scripts/bpf.ts made, as assets. */
const bpfAssets = (): Record<string, string> => {
  const files = globSync('*.json', { cwd: BPF }).sort()
  if (files.length === 0) note('no BPF objects: the executable will not have the XDP data plane')
  return Object.fromEntries(files.map(file => [`bpf/${file}`, join(BPF, file)]))
}

/** A copy of the running Node without symbols (a fifth smaller); made once for each Node. */
const strippedNode = (): string => {
  const node = realpathSync(process.execPath)
  const copy = join(OUT, `node-${process.version}-${process.arch}`)
  if (existsSync(copy) && statSync(copy).mtimeMs >= statSync(node).mtimeMs) return copy
  const partial = `${copy}.partial`
  copyFileSync(node, partial)
  try {
    execFileSync('strip', [partial], { stdio: 'pipe' })
  } catch (error) {
    note(
      `strip did not work, the executable will be larger (${error instanceof Error ? error.message.trim() : error})`,
    )
    copyFileSync(node, partial)
  }
  renameSync(partial, copy)
  return copy
}

const makeExecutable = (assets: Record<string, string>): void => {
  const partial = `${TARGET}.partial`
  const config = join(OUT, 'sea.json')
  writeFileSync(
    config,
    JSON.stringify({
      main: join(OUT, 'shunt.mjs'),
      mainFormat: 'module',
      executable: strippedNode(),
      output: partial,
      disableExperimentalSEAWarning: true,
      useCodeCache: true,
      execArgv: NODE_OPTIONS,
      execArgvExtension: 'none',
      assets,
    }),
  )
  rmSync(partial, { force: true })
  execFileSync(process.execPath, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'] })
  // The rename lets agents that run the old executable go on.
  renameSync(partial, TARGET)
}

if (basename(process.execPath) !== 'node') throw new Error('run this with node_modules/.bin/node')
mkdirSync(OUT, { recursive: true })
const started = performance.now()
const options = common()
const [assets] = await Promise.all([bundleWorkers(options), bundleMain(options)])
makeExecutable({ ...assets, ...bpfAssets() })
note(
  `dist/shunt, ${(statSync(TARGET).size / 1e6).toFixed(0)} MB, in ${((performance.now() - started) / 1000).toFixed(1)} s`,
)
