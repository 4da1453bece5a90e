/**
 * A BPF object as scripts/bpf.ts leaves it and as the agent loads it: the loader program of a light skeleton, the data it
 * works on, and where in both the things lie that are set before loading. JSON, so that it can be an asset. Pure.
 */
import { ShuntError } from '../../errors.ts'

const FORMAT = 1

export interface ObjectMap {
  name: string
  /** BPF_MAP_TYPE_..., as in <linux/bpf.h>. */
  type: number
  keyBytes: number
  valueBytes: number
  maxEntries: number
  /** BPF_F_... */
  flags: number
  /** Index of the loader's instruction that creates it. */
  createInstruction: number
  /** Only of a section with globals: what they are before loading. */
  initial: Uint8Array | null
}

export interface ObjectProgram {
  name: string
  /** BPF_PROG_TYPE_... */
  type: number
  /** Where in the data the loader puts its attributes. */
  attribute: number
}

export interface BpfObjectFile {
  name: string
  /** Fingerprint of the layout that its memory has; the generated module has the same one. */
  layout: string
  maps: ObjectMap[]
  programs: ObjectProgram[]
  instructions: Uint8Array
  data: Uint8Array
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

export const encodeObject = (object: BpfObjectFile): string =>
  JSON.stringify({
    format: FORMAT,
    ...object,
    maps: object.maps.map(map => ({ ...map, initial: map.initial && base64(map.initial) })),
    instructions: base64(object.instructions),
    data: base64(object.data),
  })

/** @throws ShuntError (SHUNT_ERR_DATAPLANE) for anything that this version of shunt did not write */
export const decodeObject = (text: string): BpfObjectFile => {
  const wrong = (cause?: unknown): ShuntError =>
    new ShuntError(
      'SHUNT_ERR_DATAPLANE',
      'this is not a BPF object of this version of shunt: build again (make bpf)',
      {
        cause,
      },
    )
  let raw: ReturnType<typeof JSON.parse>
  try {
    raw = JSON.parse(text)
  } catch (error) {
    throw wrong(error)
  }
  if (raw?.format !== FORMAT || !Array.isArray(raw.maps) || !Array.isArray(raw.programs)) throw wrong()
  const { name, layout, maps, programs } = raw
  const bytes = (value: unknown): Buffer<ArrayBuffer> => {
    if (typeof value !== 'string') throw wrong()
    return Buffer.from(new Uint8Array(Buffer.from(value, 'base64')).buffer) // an ArrayBuffer of its own
  }
  return {
    name,
    layout,
    programs,
    maps: maps.map((map: ObjectMap) => ({
      ...map,
      initial: map.initial === null ? null : bytes(map.initial),
    })),
    instructions: bytes(raw.instructions),
    data: bytes(raw.data),
  }
}
