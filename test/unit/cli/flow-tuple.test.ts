import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type FlowTuple, parseFlowTuple, reversed } from '../../../src/cli/flow-tuple.ts'
import { ShuntError } from '../../../src/errors.ts'

const it = suite('cli/flow-tuple')

const FOUR: FlowTuple = { protocol: 'tcp', client: '203.0.113.5:40000', vip: '198.51.100.10:80' }
const SIX: FlowTuple = { protocol: 'tcp', client: '[2001:db8::5]:40000', vip: '[2001:db8::10]:80' }

it('reads the forms that people paste', () => {
  const cases: [string | string[], FlowTuple][] = [
    [['tcp', '203.0.113.5:40000', '198.51.100.10:80'], FOUR],
    ['tcp 203.0.113.5:40000 198.51.100.10:80', FOUR],
    ['203.0.113.5:40000 -> 198.51.100.10:80', FOUR],
    ['203.0.113.5:40000->198.51.100.10:80', FOUR],
    ['203.0.113.5:40000,198.51.100.10:80', FOUR],
    ['TCP 203.0.113.5:40000 → 198.51.100.10:80', FOUR],
    ['udp 203.0.113.5:40000 198.51.100.10:80', { ...FOUR, protocol: 'udp' }],
    // ss -tn
    ['ESTAB 0      0      203.0.113.5:40000  198.51.100.10:80', FOUR],
    ['tcp   ESTAB 0 0 203.0.113.5%eth0:40000 198.51.100.10:80 users:(("curl",pid=1,fd=5))', FOUR],
    ['tcp ESTAB 0 0 [::ffff:203.0.113.5]:40000 [::ffff:198.51.100.10]:80', FOUR],
    // tcpdump -n
    ['12:00:00.123456 IP 203.0.113.5.40000 > 198.51.100.10.80: Flags [S], seq 1, win 64240, length 0', FOUR],
    ['IP 203.0.113.5.40000 > 198.51.100.10.80: UDP, length 5', { ...FOUR, protocol: 'udp' }],
    ['IP6 2001:db8::5.40000 > 2001:db8::10.80: Flags [.], ack 1', SIX],
    // conntrack -L
    [
      'tcp 6 431999 ESTABLISHED src=203.0.113.5 dst=198.51.100.10 sport=40000 dport=80 src=198.51.100.10 dst=203.0.113.5 sport=80 dport=40000 [ASSURED]',
      FOUR,
    ],
    ['[2001:db8::5]:40000 [2001:db8::10]:80', SIX],
    // As the cluster writes it, so that it is found there.
    ['[2001:0DB8:0::5]:40000 [2001:db8:0:0::0010]:80', SIX],
  ]
  for (const [given, expected] of cases)
    assert.equal(parseFlowTuple(typeof given === 'string' ? [given] : given), expected, String(given))
})

it('refuses the rest, in one line that shows how to do it', () => {
  const cases = [
    '',
    'tcp',
    'tcp 203.0.113.5:40000',
    '203.0.113.5 198.51.100.10',
    '203.0.113.5:0 198.51.100.10:80',
    '203.0.113.5:65536 198.51.100.10:80',
    '203.0.113.256:1 198.51.100.10:80',
    '203.0.113.5:1 [2001:db8::1]:80',
    '1.1.1.1:1 2.2.2.2:2 3.3.3.3:3',
    'web:80 198.51.100.10:80',
    'icmp 203.0.113.5:1 198.51.100.10:80',
    'SCTP 203.0.113.5:1 198.51.100.10:80',
    '203.0.113.5:1e3 198.51.100.10:80',
    `${'x'.repeat(2000)} 203.0.113.5:1 198.51.100.10:80`,
    '\x1b[2J203.0.113.5:\x00 evil\nerror: all is well',
  ]
  for (const text of cases)
    try {
      parseFlowTuple([text])
      assert.unreachable(text)
    } catch (error) {
      assert.instance(error, ShuntError, text)
      const { code, message } = error as ShuntError
      assert.is(code, 'SHUNT_ERR_USAGE')
      assert.match(message, /give it as tcp 203\.0\.113\.5:40000/)
      assert.not.match(message, /\p{Cc}/u)
      assert.ok(message.length < 400)
    }
})

it('whatever it is given, it answers two ends of one family or a usage error', () => {
  const token = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.nat(70_000).map(String),
    fc.string(),
    fc.constantFrom(':', '.', '[', ']', '>', ' ', 'src=', 'dst=', ' sport=', 'udp', '%', '::ffff:'),
  )
  fc.assert(
    fc.property(fc.array(token, { maxLength: 12 }), tokens => {
      try {
        const { client, vip, protocol } = parseFlowTuple([tokens.join('')])
        const family = (end: string): string =>
          /^\[[0-9a-f:.]+\]:\d+$/i.test(end) ? '6' : /^\d+\.\d+\.\d+\.\d+:\d+$/.test(end) ? '4' : 'none'
        return family(client) !== 'none' && family(client) === family(vip) && /^(tcp|udp)$/.test(protocol)
      } catch (error) {
        return error instanceof ShuntError && error.code === 'SHUNT_ERR_USAGE'
      }
    }),
    { numRuns: 2_000 },
  )
})

it('turns it round', () => {
  assert.equal(reversed(FOUR), { protocol: 'tcp', client: FOUR.vip, vip: FOUR.client })
})

it.run()
