import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { ShuntError } from '../errors.ts'
import { partsOf, readSysctl, type SysctlName, sysctlPath, writeSysctl } from './sysctl.ts'

interface Saved {
  name: string[]
  original: string
}

/**
 * Changes kernel settings and puts them back. The original values are in a file before the first change, so that
 * the next start can undo what a killed process left behind (`recover`).
 */
export class SysctlGuard {
  readonly #path: string
  readonly #saved: Saved[]
  /** Paths that this process has set. */
  readonly #set = new Set<string>()

  /** Continues what `savePath` says was changed and not restored. Throws ShuntError if that file is damaged. */
  constructor(savePath: string) {
    this.#path = savePath
    this.#saved = readSaved(savePath)
  }

  /** Names of what is changed, as `sysctl` writes them. */
  get changed(): string[] {
    return this.#saved.map(({ name }) => name.join('/'))
  }

  /** Sets a value, after writing down the original; a setting that has the value already is left alone. */
  set(name: SysctlName, value: string | number): void {
    const parts = [...partsOf(name)]
    const current = readSysctl(parts)
    const path = sysctlPath(parts)
    this.#set.add(path)
    if (words(current) === words(String(value))) return
    if (!this.#saved.some(saved => sysctlPath(saved.name) === path)) {
      this.#saved.push({ name: parts, original: current })
      this.#save()
    }
    writeSysctl(parts, value)
  }

  /**
   * Puts the originals back, the last first; one whose interface has gone is forgotten. Tries all, then throws the
   * first error; what failed stays on file.
   */
  restore(): void {
    this.#set.clear()
    this.#restore(this.#saved.splice(0))
  }

  /** The same for what an earlier process changed and this one has not asked for. */
  restoreOthers(): void {
    const all = this.#saved.splice(0)
    const mine = all.filter(({ name }) => this.#set.has(sysctlPath(name)))
    this.#saved.push(...mine)
    this.#restore(all.filter(saved => !mine.includes(saved)))
  }

  #restore(those: readonly Saved[]): void {
    const failed: Saved[] = []
    let firstError: unknown
    for (const saved of [...those].reverse()) {
      try {
        if (existsSync(sysctlPath(saved.name))) writeSysctl(saved.name, saved.original)
      } catch (error) {
        firstError ??= error
        failed.unshift(saved)
      }
    }
    this.#saved.push(...failed)
    if (this.#saved.length === 0) rmSync(this.#path, { force: true })
    else if (those.length > 0) this.#save()
    if (failed.length > 0) throw firstError
  }

  /** Undoes what an earlier process with the same file left changed; harmless if there is nothing. */
  static recover(savePath: string): void {
    new SysctlGuard(savePath).restore()
  }

  /** Atomic and durable: after a crash there is the old file or the new one. */
  #save(): void {
    mkdirSync(dirname(this.#path), { recursive: true })
    const temporary = `${this.#path}.new`
    const fd = openSync(temporary, 'w', 0o600)
    try {
      writeSync(fd, JSON.stringify({ version: 1, settings: this.#saved }, null, 2))
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, this.#path)
  }
}

/** The kernel separates the numbers of one setting by tabs, people by spaces. */
const words = (value: string): string => value.trim().split(/\s+/).join(' ')

const isSaved = (value: unknown): value is Saved => {
  const { name, original } = (value ?? {}) as Partial<Saved>
  return typeof original === 'string' && Array.isArray(name) && name.every(part => typeof part === 'string')
}

const readSaved = (path: string): Saved[] => {
  if (!existsSync(path)) return []
  try {
    const { version, settings } = JSON.parse(readFileSync(path, 'utf8')) as {
      version: unknown
      settings: unknown
    }
    if (version === 1 && Array.isArray(settings) && settings.every(isSaved)) return settings
    throw new ShuntError('SHUNT_ERR_OS', 'it has another form')
  } catch (cause) {
    const message = `${path} should hold kernel settings to restore, but cannot be read; check them and remove it`
    throw new ShuntError('SHUNT_ERR_OS', message, { cause })
  }
}
