/** shunt-cluster.yaml(5) and shunt-node.yaml(5) on health and load: default, range and unit of each field, as the code has them. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Schema } from '../../../scripts/man/keys.ts'
import { manPages } from '../../../scripts/man/pages.ts'
import {
  choice,
  choiceOf,
  groups,
  health,
  overload,
  slowStartOf,
  whenFailingOf,
} from '../../../src/config/health-fields.ts'
import { clusterJsonSchema } from '../../../src/config/json-schema.ts'
import { TokenTotal } from '../../../src/health/allotment/tokens.ts'
import { DEFAULT_PATH, DEFAULT_STATUS } from '../../../src/health/probe/answer.ts'

const it = suite('docs/defaults')

const DEFAULTS: Record<string, Record<string, unknown>> = {
  health: { ...health.parse({}), path: DEFAULT_PATH, status: DEFAULT_STATUS },
  choice: { ...choice.parse({}), strategy: choiceOf({}).strategy },
  groups: groups.parse({}),
  overload: overload.parse({}),
  slowStart: { '': slowStartOf({}) },
  whenFailing: { '': whenFailingOf({}) },
}
/** What counts where the file cannot say it as a value. */
const IF_LEFT_OUT: Record<string, RegExp> = {
  'health.port': /^that of the service\./,
  'health.host': /^the virtual IP\./,
  'health.body': /^any body will do\./,
  'health.command': /^there is none; exec needs it\./,
  'choice.tokens': new RegExp(`^${new TokenTotal().next(true, 0, 5000)} at first; `),
}
/** Words of each number's text that say what it counts. */
const UNITS: Record<string, RegExp> = {
  'health.port': /port to probe/,
  'health.interval': /in milliseconds/,
  'health.timeout': /in milliseconds/,
  'health.rise': /Number of good probes/,
  'health.fall': /Number of bad probes/,
  'health.jitter': /Share of the interval, 0\.1 for a tenth/,
  'choice.tokens': /number of tokens .*one a connection/,
  'choice.duration': /in milliseconds/,
  slowStart: /in milliseconds/,
  'groups.size': /number of hosts/,
  'groups.direct': /number of hosts/,
  'overload.drain': /in percent/,
  'overload.resume': /in percent/,
  'overload.forMs': /in milliseconds/,
}

const page = (await manPages()).get('shunt-cluster.yaml.5')!.replaceAll('\\-', '-')
/** What the page says of a key: the facts in brackets, and the text. */
const said = (key: string, from = page): { facts: string; text: string } => {
  const place = key.startsWith('groups') || key.startsWith('overload') ? key : `services[].${key}`
  const [, facts, text] = from.split(`\n\\fB${place}\\fR\n`)[1]?.match(/^\(([^)]*)\) (.*)\n/) ?? []
  assert.ok(facts !== undefined && text !== undefined, `${place} is not on the page`)
  return { facts: facts!, text: text! }
}

const { properties } = clusterJsonSchema() as Schema
const sections: Record<string, Schema> = { ...properties!.services!.items!.properties!, ...properties! }
const fields = Object.keys(DEFAULTS).flatMap((section): [string, Schema][] => {
  const own = sections[section]!
  return own.properties === undefined
    ? [[section, own]]
    : Object.entries(own.properties).map(([key, field]) => [`${section}.${key}`, field])
})

it('each field says its default, the one that counts', () => {
  assert.ok(fields.length > 20)
  for (const [key] of fields) {
    const [section, name = ''] = key.split('.')
    const { facts, text } = said(key)
    const value = DEFAULTS[section!]![name]
    const prose = /If left out, (.*)$/.exec(text)?.[1]
    if (value === undefined) assert.match(prose ?? '', IF_LEFT_OUT[key] ?? /^an entry in this test/, key)
    else {
      assert.ok(facts.endsWith(`; default ${value}`), `${key}: ${facts}, not ${value}`)
      assert.is(prose, undefined, `${key} says it once`)
    }
  }
})

it('each number says its range and unit, each text how long it may be', () => {
  for (const [key, field] of fields) {
    const { facts, text } = said(key)
    if (field.type === 'integer' || field.type === 'number') {
      assert.ok(facts.startsWith(`${field.minimum} to ${field.maximum}`), `${key}: ${facts}`)
      assert.match(text, UNITS[key] ?? /an entry in this test/, key)
    } else if (field.enum !== undefined) assert.ok(facts.startsWith(`one of ${field.enum.join(', ')}`), key)
    else assert.match(text, /\d+ to \d+/, key)
  }
})

it('the node file says the same of them', async () => {
  const node = (await manPages()).get('shunt-node.yaml.5')!.replaceAll('\\-', '-')
  for (const [key] of fields) assert.equal(said(key, node), said(key), key)
})

it.run()
