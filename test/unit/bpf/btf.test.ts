import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type BtfType, parseBtf, resolve, sizeOf } from '../../../scripts/bpf/btf.ts'
import { objectLayout } from '../../../scripts/bpf/layout.ts'
import { BtfWriter } from '../../support/btf-writer.ts'

const it = suite('bpf/btf')

/** struct pair { u64 a; u8 b[6]; }; struct outer { int n; union { u32 v4; u32 v6[4]; } address; struct pair pair; enum kind k; } */
const example = () => {
  const btf = new BtfWriter()
  const u32 = btf.int('unsigned int', 4)
  const i32 = btf.int('int', 4, true)
  const u64 = btf.typedef('__u64', btf.int('unsigned long long', 8))
  const u8 = btf.int('unsigned char', 1)
  const pair = btf.struct('pair', 16, [
    ['a', u64, 0],
    ['b', btf.array(u8, 6, u32), 64],
  ])
  const union = btf.union('', 16, [
    ['v4', u32, 0],
    ['v6', btf.array(u32, 4, u32), 0],
  ])
  const kind = btf.enum('kind', 4, [
    ['KIND_A', 0],
    ['KIND_B', -7],
  ])
  const outer = btf.struct('outer', 40, [
    ['n', i32, 0],
    ['address', union, 32],
    ['pair', btf.typedef('pair_t', pair), 192],
    ['k', kind, 320],
  ])
  return { btf, u32, u64, i32, pair, union, kind, outer }
}

it('reads each kind with its size, members and values', () => {
  const { btf, u64, i32, pair, kind, outer } = example()
  const types = parseBtf(btf.bytes())
  assert.is(types[0].kind, 'void')
  assert.equal(resolve(types, u64), {
    id: u64 - 1,
    kind: 'int',
    name: 'unsigned long long',
    bytes: 8,
    type: 0,
    signed: false,
    elements: 0,
    members: [],
    values: [],
  } satisfies BtfType)
  assert.is(types[i32].signed, true)
  assert.is(sizeOf(types, outer), 40)
  assert.equal(
    types[pair].members.map(({ name, bitOffset, bits }) => [name, bitOffset, bits]),
    [
      ['a', 0, 0],
      ['b', 64, 0],
    ],
  )
  assert.is(sizeOf(types, types[pair].members[1].type), 6)
  assert.equal(types[kind].values, [
    { name: 'KIND_A', value: 0n },
    { name: 'KIND_B', value: -7n },
  ])
})

it('lays out nested structs, the forms of a union, maps, globals and what is exported', () => {
  const { btf, u32, pair, outer } = example()
  const map = btf.struct('', 16, [
    ['key', btf.pointer(u32), 0],
    ['value', btf.pointer(outer), 64],
  ])
  const sized = btf.struct('', 16, [
    ['key_size', btf.pointer(btf.array(u32, 12, u32)), 0],
    ['value_size', btf.pointer(btf.array(u32, 3, u32)), 64],
  ])
  btf.section('.maps', [
    [btf.variable('table', map), 0, 16],
    [btf.variable('plain', sized), 16, 16],
  ])
  btf.section('.bss', [
    [btf.variable('shunt_export_pair', btf.pointer(pair)), 0, 8],
    [btf.variable('hits', u32), 8, 4],
  ])
  btf.section('license', [[btf.variable('LICENSE', u32), 0, 4]])
  const layout = objectLayout(parseBtf(btf.bytes()))
  assert.equal(
    layout.structs.find(({ name }) => name === 'outer')?.fields.map(f => [f.path, f.offset, f.bytes, f.type]),
    [
      ['n', 0, 4, 'i32'],
      ['address.v4', 4, 4, 'u32'],
      ['address.v6', 4, 16, 'u32[4]'],
      ['pair.a', 24, 8, 'u64'],
      ['pair.b', 32, 6, 'u8[6]'],
      ['k', 40, 4, 'enum kind'],
    ],
  )
  assert.equal(
    layout.structs.map(({ name, bytes }) => [name, bytes]),
    [
      ['outer', 40],
      ['pair', 16],
    ],
  )
  assert.equal(
    layout.enums.map(({ name }) => name),
    ['kind'],
  )
  assert.equal(layout.maps, [
    { name: 'plain', keyBytes: 12, valueBytes: 3, key: 'bytes', value: 'bytes' },
    { name: 'table', keyBytes: 4, valueBytes: 40, key: 'u32', value: 'struct outer' },
  ])
  assert.equal(layout.globals, [{ name: 'hits', section: 'bss', offset: 8, bytes: 4, type: 'u32' }])
})

it('an exported struct that no map has is laid out', () => {
  const { btf, pair } = example()
  btf.section('.bss', [[btf.variable('shunt_export_pair', btf.pointer(pair)), 0, 8]])
  assert.equal(
    objectLayout(parseBtf(btf.bytes())).structs.map(({ name }) => name),
    ['pair'],
  )
})

it('refuses a bit field, and reads where it lies', () => {
  const btf = new BtfWriter()
  const u32 = btf.int('unsigned int', 4)
  const bits = btf.struct('flags', 4, [['low', u32, (3 << 24) | 5]], true)
  btf.section('.bss', [[btf.variable('flags', bits), 0, 4]])
  const types = parseBtf(btf.bytes())
  assert.equal(types[bits].members, [{ name: 'low', type: u32, bitOffset: 5, bits: 3 }])
  assert.throws(() => objectLayout(types), /flags\.low is a bit field/)
})

it('reads 64 bit enums, signed or not', () => {
  const btf = new BtfWriter()
  const id = btf.enum64('wide', [['TOP', 0xffffffffffffffffn]], false)
  const signed = btf.enum64('low', [['MINUS', -1n]], true)
  const types = parseBtf(btf.bytes())
  assert.is(types[id].values[0].value, 0xffffffffffffffffn)
  assert.is(types[signed].values[0].value, -1n)
})

it('refuses what is no BTF, cut short, of an unknown kind, circular or without a size', () => {
  const bytes = example().btf.bytes()
  assert.throws(() => parseBtf(new Uint8Array(40)), /not BTF/)
  for (let length = 0; length < bytes.length; length++)
    assert.throws(() => parseBtf(bytes.subarray(0, length)), Error, `${length} bytes`)
  const odd = new BtfWriter()
  odd.raw('x', 25, 0, 0, [])
  assert.throws(() => parseBtf(odd.bytes()), /kind 25/)
  const circle = new BtfWriter()
  circle.typedef('a', 2)
  circle.typedef('b', 1)
  const types = parseBtf(circle.bytes())
  assert.throws(() => resolve(types, 1), /circle/)
  assert.throws(() => sizeOf(types, 0), /no size/)
  assert.throws(() => sizeOf(types, 99), /not there/)
})

it.run()
