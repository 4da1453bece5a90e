import { createHash } from 'node:crypto'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { BACKUP_SCHEMA, formatBackup, parseBackup } from '../../../src/cluster/backup.ts'
import { ShuntError } from '../../../src/errors.ts'

const it = suite('cluster/backup')
const file = (part: string): object => ({ part, path: `/etc/shunt/${part}`, content: 'AAAA' })
const whole = ['node-file', 'identity', 'cluster'].map(file)
/** A backup with a right checksum, whatever its body is. */
const sealed = (body: object): string => {
  const sha256 = createHash('sha256').update(JSON.stringify(body)).digest('hex')
  return JSON.stringify({ schema: BACKUP_SCHEMA, sha256, ...body })
}

it('comes back as it was', () => {
  const backup = {
    madeAt: '2026-01-01T00:00:00.000Z',
    node: 'f1',
    files: (['node-file', 'identity', 'cluster'] as const).map(part => ({
      ...{ part, path: `/x/${part}` },
      content: new Uint8Array([1, 2, 3]),
    })),
  }
  assert.equal(parseBackup(formatBackup(backup), 'b'), backup)
})

it('one that is none is refused with words, however well it is sealed', () => {
  const texts = [
    ...['', 'null', '[]', '7', '"x"', '{}', '{"schema":5}'],
    sealed({}),
    ...[null, {}, 'x', [null], [[]], [7], [...whole, null]].map(files => sealed({ files })),
    ...['part', 'path', 'content'].map(field =>
      sealed({ files: [...whole, { ...file('tokens'), [field]: null }] }),
    ),
    sealed({ files: whole.slice(1) }),
    sealed({ files: [...whole, file('identity')] }),
    sealed({ files: [...whole, file('other')] }),
  ]
  for (const text of texts)
    assert.throws(
      () => parseBackup(text, 'b.json'),
      (e: Error) =>
        e instanceof ShuntError &&
        e.code === 'SHUNT_ERR_STATE' &&
        /^b.json cannot be restored/.test(e.message),
      text,
    )
  assert.not.throws(() => parseBackup(sealed({ files: whole }), 'b.json'))
})

it.run()
