import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { manPages } from '../../../scripts/man/pages.ts'
import { loadDocument } from '../../../src/config/document.ts'
import { isManaged, loadNodeConfig, loadNodeFile } from '../../../src/config/load.ts'
import { ROOT } from '../../support/cli.ts'
import { testIf } from '../../support/skip.ts'

const it = suite('docs/man')
const pages = await manPages()

it('the pages are of these sources (make man)', () => {
  assert.equal(readdirSync(join(ROOT, 'man')).sort(), [...pages.keys()].sort())
  for (const [file, text] of pages) assert.is(readFileSync(join(ROOT, 'man', file), 'utf8'), text, file)
})

it('no text is taken for a macro, and every option is described', () => {
  for (const [file, text] of pages) {
    for (const line of text.split('\n'))
      if (line.startsWith('.')) assert.match(line, /^\.(\\"|TH|SH|PP|TP|nf|fi|RS|RE)/, `${file}: ${line}`)
    assert.not.match(text, /\.TP\n.*\n\n/, file)
    assert.not.match(text, /<%=/, file)
  }
})

it('the examples are right', () => {
  const example = (file: string): string => join(ROOT, 'packaging', file)
  const managed = loadNodeFile(example('node.example.yaml'))
  assert.is(managed.node.name, 'f1')
  assert.ok(isManaged(managed))
  assert.is(loadNodeConfig(example('node-static.example.yaml')).peers.length, 3)
  assert.is(loadDocument(example('cluster.example.yaml')).document.services.length, 3)
})

const hasMan = spawnSync('man', ['--version']).status === 0 && spawnSync('groff', ['--version']).status === 0
testIf(hasMan ? undefined : 'man and groff are not installed', it, 'man shows them without a warning', () => {
  for (const file of pages.keys()) {
    const { status, stdout, stderr } = spawnSync('man', ['--warnings', '-l', join(ROOT, 'man', file)], {
      encoding: 'utf8',
      env: { ...process.env, MANWIDTH: '100', LC_ALL: 'C.UTF-8', MANPAGER: 'cat' },
    })
    assert.equal({ status, stderr }, { status: 0, stderr: '' }, file)
    assert.match(stdout, /NAME\n/)
  }
})

it.run()
