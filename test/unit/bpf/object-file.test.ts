import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bpfObject } from '../../../src/assets.ts'
import { writeGlobal } from '../../../src/os/bpf/globals.ts'
import { type BpfObjectFile, decodeObject, encodeObject } from '../../../src/os/bpf/object-file.ts'

const it = suite('bpf/object-file')

const object: BpfObjectFile = {
  name: 'tiny',
  layout: '0123456789abcdef',
  maps: [
    {
      name: 'table',
      type: 1,
      keyBytes: 8,
      valueBytes: 24,
      maxEntries: 1024,
      flags: 0,
      createInstruction: 98,
      initial: null,
    },
    {
      name: 'rodata',
      type: 2,
      keyBytes: 4,
      valueBytes: 3,
      maxEntries: 1,
      flags: 1152,
      createInstruction: 117,
      initial: Buffer.from([1, 0, 255]),
    },
  ],
  programs: [{ name: 'run', type: 6, attribute: 9040 }],
  instructions: Buffer.from([0xb7, 0, 0, 0, 1, 0, 0, 0]),
  data: Buffer.from([0, 1, 2, 254, 255]),
}

it('what was encoded is decoded, into memory of its own', () => {
  const again = decodeObject(encodeObject(object))
  assert.equal(again, object)
  assert.is(again.data.byteOffset, 0)
  assert.is(again.data.buffer.byteLength, object.data.length)
})

it('refuses other files with what to do', () => {
  for (const text of ['', '{}', 'null', '[]', '{"format":1}', '{"format":2,"maps":[],"programs":[]}'])
    assert.throws(() => decodeObject(text), /build again/, text)
  const { data: _, ...rest } = JSON.parse(encodeObject(object))
  assert.throws(() => decodeObject(JSON.stringify(rest)), /build again/)
})

it('a build without the object says what to install', () => {
  assert.throws(() => bpfObject('nothing'), /no BPF programs: install clang/)
})

it('writes numbers of each size and sign, and bytes', () => {
  const section = new Uint8Array(16)
  const at = (offset: number, bytes: number) => ({ section: 'data', offset, bytes })
  writeGlobal(section, at(0, 4), 0x01020304)
  writeGlobal(section, at(4, 2), -2)
  writeGlobal(section, at(6, 1), 255)
  writeGlobal(section, at(8, 8), 0xfffffffffffffff0n)
  assert.equal([...section], [4, 3, 2, 1, 0xfe, 0xff, 255, 0, 0xf0, ...Array(7).fill(0xff)])
  writeGlobal(section, at(0, 3), Uint8Array.of(9, 8, 7))
  assert.equal([...section.subarray(0, 4)], [9, 8, 7, 1])
})

it('refuses values that do not fit, and places outside', () => {
  const section = new Uint8Array(8)
  const at = (offset: number, bytes: number) => ({ section: 'data', offset, bytes })
  assert.throws(() => writeGlobal(section, at(0, 1), 256), /does not fit/)
  assert.throws(() => writeGlobal(section, at(0, 1), -129), /does not fit/)
  assert.throws(() => writeGlobal(section, at(0, 8), 1n << 64n), /does not fit/)
  assert.throws(() => writeGlobal(section, at(0, 4), new Uint8Array(3)), /cannot be set to 3/)
  assert.throws(() => writeGlobal(section, at(6, 4), 1), /outside/)
  assert.equal([...section], Array(8).fill(0))
})

it.run()
