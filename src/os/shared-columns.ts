/**
 * Columns of tables in files on a memory file system, one file a column, mapped shared: what is stored there is there for the next process as
 * soon as it is stored, however this one ends. Pages that were never written cost nothing. A machine that starts again begins with none.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { MappedMemory } from './bpf/mapped.ts'
import { PAGE_BYTES } from './bpf/syscall.ts'

/** Removed first and written last: without it the columns are of no use. */
const HEAD = 'head'

/** The folder of an agent's columns, by a name that no other agent of the machine has. */
export const columnsFolder = (owner: string): string => join('/run/shunt/tables', owner)

/** What an agent left there says of itself, or null: there is nothing, or nothing whole. */
export const readColumnsHead = (folder: string): string | null => {
  try {
    return readFileSync(join(folder, HEAD), 'utf8')
  } catch {
    return null
  }
}

/** Answers whether there was anything. */
export const removeColumns = (folder: string): boolean => {
  const there = existsSync(folder)
  rmSync(folder, { recursive: true, force: true })
  return there
}

export class SharedColumns {
  readonly #folder: string
  readonly #mapped: MappedMemory[] = []
  /** Columns are an earlier process's, if they are there; else they are made anew. */
  #continues: boolean

  private constructor(folder: string, continues: boolean) {
    this.#folder = folder
    this.#continues = continues
  }

  /** Those that are there, until `settled`. Another process cannot continue them before `seal`. */
  static continue(folder: string): SharedColumns {
    rmSync(join(folder, HEAD))
    return new SharedColumns(folder, true)
  }

  /** Empty ones, in the place of whatever is there. Throws Error (of the file system). */
  static create(folder: string): SharedColumns {
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return new SharedColumns(folder, false)
  }

  /** All that goes on is taken: a column that is asked for from now on is empty. */
  settled(): void {
    this.#continues = false
  }

  /** From now on the next process may continue them. */
  seal(head: string): void {
    writeFileSync(join(this.#folder, `${HEAD}.new`), head, { mode: 0o600 })
    renameSync(join(this.#folder, `${HEAD}.new`), join(this.#folder, HEAD))
  }

  u8(name: string, length: number): Uint8Array {
    return new Uint8Array(this.#map(name, length), 0, length)
  }
  u16(name: string, length: number): Uint16Array {
    return new Uint16Array(this.#map(name, length * 2), 0, length)
  }
  u32(name: string, length: number): Uint32Array {
    return new Uint32Array(this.#map(name, length * 4), 0, length)
  }
  i32(name: string, length: number): Int32Array {
    return new Int32Array(this.#map(name, length * 4), 0, length)
  }
  f64(name: string, length: number): Float64Array {
    return new Float64Array(this.#map(name, length * 8), 0, length)
  }

  #map(name: string, bytes: number): ArrayBuffer {
    const whole = Math.max(1, Math.ceil(bytes / PAGE_BYTES)) * PAGE_BYTES
    const path = join(this.#folder, basename(name))
    // Not the same file: this process may still have the one before in use.
    if (!this.#continues) rmSync(path, { force: true })
    const fd = openSync(path, 'a+', 0o600)
    try {
      if (fstatSync(fd).size !== whole) {
        ftruncateSync(fd, 0)
        ftruncateSync(fd, whole)
      }
      const mapped = new MappedMemory(fd, whole, 0, true)
      this.#mapped.push(mapped)
      return mapped.memory
    } finally {
      closeSync(fd)
    }
  }

  /** Gives the memory back; what was stored stays in the files. */
  release(): void {
    for (const mapped of this.#mapped.splice(0)) mapped.release()
  }
}
