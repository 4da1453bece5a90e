/** What this program is. A build fills the values in; sources read package.json instead. */
import { readFileSync } from 'node:fs'

export interface BuildInfo {
  version: string
  /** Hash of the sources that a build was made from; `dev` when run from them. The same sources give the same. */
  build: string
}

declare const __SHUNT_BUILD__: BuildInfo | undefined

const fromSources = (): BuildInfo => {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return { version: (JSON.parse(text) as { version: string }).version, build: 'dev' }
}

/** True in what scripts/build.ts made, false when the sources run. */
export const IS_BUNDLED: boolean = typeof __SHUNT_BUILD__ !== 'undefined'
export const BUILD: BuildInfo = typeof __SHUNT_BUILD__ === 'undefined' ? fromSources() : __SHUNT_BUILD__
export const VERSION: string = BUILD.version
