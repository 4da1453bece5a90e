import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bashScript } from '../../../src/completion/bash.ts'
import { fishScript } from '../../../src/completion/fish.ts'
import { completionModel, firstWords, secondWords } from '../../../src/completion/model.ts'
import { zshScript } from '../../../src/completion/zsh.ts'
import { MODEL } from '../../support/completion.ts'

const it = suite('completion/model')

it('what is hidden is not offered; values come from what options say of themselves', () => {
  const model = completionModel(
    [
      {
        id: 'x',
        summary: 'Do it.',
        flags: {
          a: { name: 'a', type: 'boolean', description: 'One. Two.' },
          b: { name: 'b', type: 'option', helpValue: 'FILE' },
          c: { name: 'c', type: 'option', options: ['p', 'q'] },
          wait: { name: 'wait', type: 'boolean', allowNo: true, description: 'Wait or not.' },
          service: { name: 'service', type: 'option', helpValue: 'NAME' },
          z: { name: 'z', type: 'option', hidden: true },
        },
        args: {
          node: { name: 'node' },
          file: { name: 'file' },
          rest: { name: 'rest' },
          target: { name: 'target' },
        },
      },
      { id: 'secret', hidden: true, flags: {}, args: {} },
    ],
    {},
  )
  assert.is(model.commands.length, 1)
  const [command] = model.commands
  assert.is(command!.summary, 'Do it')
  assert.equal(
    command!.options.map(o => [o.name, o.summary, o.values]),
    [
      ['a', 'One', null],
      ['b', '', { from: 'files' }],
      ['c', '', { from: 'list', list: ['p', 'q'] }],
      ['help', 'Help', null],
      ['no-wait', 'Wait or not', null],
      ['service', '', { from: 'agent', noun: 'services' }],
      ['wait', 'Wait or not', null],
    ],
  )
  assert.equal(
    command!.args.map(a => a.values),
    [
      { from: 'agent', noun: 'nodes' },
      { from: 'files' },
      { from: 'nowhere' },
      { from: 'agent', noun: 'hosts' },
    ],
  )
})

it('first words are commands, topics and help; second words are a topic’s', () => {
  assert.equal(
    firstWords(MODEL).map(w => w.name),
    ['apply', 'roles', 'config', 'help'],
  )
  assert.equal(
    secondWords(MODEL, 'config').map(w => w.name),
    ['check', 'show'],
  )
})

it('every command and option is in every script, and texts cannot leave their quotes', () => {
  for (const script of [bashScript(MODEL), zshScript(MODEL), fishScript(MODEL)]) {
    for (const word of ['config', 'check', 'show', 'roles', 'wait', 'kind']) assert.match(script, word)
    assert.not.match(script, /(?<!\\)\$\(touch/)
  }
})

it.run()
