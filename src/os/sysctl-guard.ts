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
import { readSysctl, type SysctlName, sysctlPath, writeSysctl } from './sysctl.ts'

interface Saved {
  name: string[]
  original: string
  set: string
}

/**
 * Changes kernel settings and puts them back. The original values are in a file before the first change, so that
 * the next start can undo what a killed process left behind (`recover`).
 */
export class SysctlGuard {
  readonly #path: string
  readonly #saved: Saved[]

  /** Continues what `savePath` says was changed and not restored. Throws ShuntError if that file is damaged. */
  constructor(savePath: string) {
    this.#path = savePath
    this.#saved = readSaved(savePath)
  }

  /** Sets a value, after writing down the original; a setting that has the value already is left alone. */
  set(name: SysctlName, value: string | number): void {
    const parts = typeof name === 'string' ? name.split('.') : [...name]
    const current = readSysctl(parts)
    if (current === String(value)) return
    const path = sysctlPath(parts)
    const known = this.#saved.find(saved => sysctlPath(saved.name) === path)
    if (known === undefined) this.#saved.push({ name: parts, original: current, set: String(value) })
    else known.set = String(value)
    this.#save()
    writeSysctl(parts, value)
  }

  /**
   * Puts the originals back, last change first. A setting that somebody else has changed since keeps that value;
   * one whose interface has gone is forgotten. Throws the first error after trying all; those stay on file.
   */
  restore(): void {
    const failed: { saved: Saved; error: unknown }[] = []
    for (const saved of this.#saved.reverse()) {
      try {
        if (existsSync(sysctlPath(saved.name)) && readSysctl(saved.name) === saved.set) {
          writeSysctl(saved.name, saved.original)
        }
      } catch (error) {
        failed.push({ saved, error })
      }
    }
    this.#saved.splice(0, this.#saved.length, ...failed.map(({ saved }) => saved).reverse())
    if (failed.length > 0) {
      this.#save()
      throw failed[0].error
    }
    rmSync(this.#path, { force: true })
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

const isSaved = (value: unknown): value is Saved => {
  const { name, original, set } = (value ?? {}) as Partial<Saved>
  if (!Array.isArray(name) || !name.every(part => typeof part === 'string')) return false
  return typeof original === 'string' && typeof set === 'string'
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
