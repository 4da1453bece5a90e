/**
 * Loads an object into the kernel: its light skeleton's loader program makes the maps and loads the programs, all inside
 * the kernel, so that no library has to understand relocations here (Linux 5.14).
 */
import { ShuntError } from '../../errors.ts'
import { EAGAIN, pinned } from '../ffi.ts'
import type { GlobalPlace } from './globals.ts'
import { runLoader } from './loader.ts'
import { BpfMap } from './map.ts'
import type { BpfObjectFile } from './object-file.ts'
import { BpfProgram } from './program.ts'
import { refusal } from './refusal.ts'

/** A signal makes the verifier give up (EAGAIN). */
const RETRIES = 20
const LOG_BYTES = 1 << 20

export interface LoadOptions {
  /** Fingerprint of the generated layout module that the caller reads the object's memory with. */
  layout: string
  /** Global variables that differ from the source: where they are, by that module, and what they are. */
  set?: readonly (readonly [GlobalPlace, number | bigint | Uint8Array])[]
  /** Other sizes of maps, by name. */
  maxEntries?: Readonly<Record<string, number>>
  /** Maps that are there already and are used instead of new ones, by name: how a new version keeps the state of the old. */
  reuse?: Readonly<Record<string, BpfMap>>
}

/** What was loaded. Owns all descriptors. */
export class LoadedObject {
  readonly #name: string
  readonly #maps = new Map<string, BpfMap>()
  readonly #programs = new Map<string, BpfProgram>()

  /** Takes the descriptors over, in the order of the file. */
  constructor({ name, maps, programs }: BpfObjectFile, mapFds: number[], programFds: number[]) {
    this.#name = name
    for (const [index, map] of maps.entries()) this.#maps.set(map.name, new BpfMap(mapFds[index]))
    for (const [index, program] of programs.entries())
      this.#programs.set(program.name, new BpfProgram(programFds[index]))
  }

  /** Throws ShuntError for a name that the object does not have. A section of globals is a map too (`data`, `bss`). */
  map(name: string): BpfMap {
    return this.#maps.get(name) ?? this.#unknown('map', name, this.#maps)
  }

  program(name: string): BpfProgram {
    return this.#programs.get(name) ?? this.#unknown('program', name, this.#programs)
  }

  close(): void {
    for (const object of [...this.#maps.values(), ...this.#programs.values()]) object.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #unknown(what: string, name: string, known: ReadonlyMap<string, unknown>): never {
    throw new ShuntError(
      'SHUNT_ERR_DATAPLANE',
      `the BPF object ${this.#name} has no ${what} ${name}; it has: ${[...known.keys()].join(', ')}`,
    )
  }
}

/**
 * Loads an object. Throws ShuntError (SHUNT_ERR_DATAPLANE) with the last lines of the verifier's log when a program is
 * refused, for maps in `reuse` that do not fit, and for a layout that is not the object's; OsError (SHUNT_ERR_OS) when bpf(2)
 * as such is not to be had. After an error nothing stays loaded.
 */
export const loadObject = (file: BpfObjectFile, options: LoadOptions): LoadedObject => {
  if (file.layout !== options.layout)
    throw new ShuntError(
      'SHUNT_ERR_DATAPLANE',
      `the BPF object ${file.name} was built from other sources than this program: build again (make)`,
    )
  let run = runLoader(file, options, null)
  for (let tries = 1; run.errno === EAGAIN && tries < RETRIES; tries++) run = runLoader(file, options, null)
  if (run.errno !== 0) {
    // The log costs time in every load and is only wanted when one fails: so it is tried again for the log's sake.
    const log = pinned(LOG_BYTES)
    run = runLoader(file, options, log)
    if (run.errno !== 0) throw refusal(file.name, run.errno, run.last, log)
  }
  return new LoadedObject(file, run.mapFds, run.programFds)
}
