import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ACTIONS } from '../../../src/tui/actions.ts'
import { type KeyFlags, keysOf } from '../../../src/tui/input.ts'
import { bindings, keyName } from '../../../src/tui/keys.ts'
import { lineText } from '../../../src/tui/lines.ts'
import { SCREENS } from '../../../src/tui/screens/table.ts'
import { helpLines } from '../../../src/tui/views/help.ts'
import { Tui } from '../../support/tui.ts'

const it = suite('tui/input')

const NONE: KeyFlags = {
  upArrow: false,
  downArrow: false,
  pageUp: false,
  pageDown: false,
  home: false,
  end: false,
  return: false,
  escape: false,
  tab: false,
  shift: false,
  backspace: false,
  delete: false,
  ctrl: false,
  meta: false,
}

it('characters may come in one chunk', () => {
  assert.equal(keysOf('jjG', NONE), ['j', 'j', 'G'])
  assert.equal(keysOf('2 x\r\t\x7f\x03', NONE), ['2', 'space', 'x', 'enter', 'tab', 'backspace', 'ctrl-c'])
  assert.equal(keysOf('q', { ...NONE, meta: true }), ['esc', 'q'])
})

it('named keys', () => {
  assert.equal(keysOf('', { ...NONE, downArrow: true }), ['down'])
  assert.equal(keysOf('\t', { ...NONE, tab: true, shift: true }), ['shift-tab'])
  assert.equal(keysOf('', { ...NONE, escape: true, meta: true }), ['esc'])
  assert.equal(keysOf('', { ...NONE, delete: true }), ['backspace'])
  assert.equal(keysOf('c', { ...NONE, ctrl: true }), ['ctrl-c'])
})

it('no key means two things', () => {
  for (const { id } of SCREENS) {
    const keys = bindings(false)
      .filter(({ screens }) => screens === undefined || screens.includes(id))
      .flatMap(binding => binding.keys)
    assert.is(new Set(keys).size, keys.length, id)
  }
})

it('the help shows every key that is bound, and no other', () => {
  for (const readOnly of [false, true]) {
    const { state } = new Tui({ readOnly })
    const text = helpLines(state, 0, 100).map(lineText).join('\n')
    for (const { keys, help } of bindings(readOnly)) {
      assert.ok(text.includes(keys.map(keyName).join(' ')), `${keys} is missing`)
      assert.ok(text.includes(help), `${help} is missing`)
    }
    for (const { help } of ACTIONS) assert.is(text.includes(help), !readOnly)
  }
})

it.run()
