/**
 * The consensus node stand-in of tests and demo, held to the beacon API and to answers that were seen of real clients: the same status, the
 * same fields of the same form, nothing more. What is not listed as a client's own must not differ.
 */

import { networks } from '@dvt-relayer/chain/networks.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Beacon, depositOfVector, madeUpKey, type StandInStep, startBeacon } from '../../support/chain/beacon.ts'
import { readFixtureJson } from '../../support/keys/fixtures.ts'
import { ask } from '../../support/world/world.ts'

interface Asked {
  ask: string
  json?: object
  status: number
  body: unknown
}
interface Seen extends Asked {
  client: string
  /** What the node was in. */
  step?: StandInStep
  /** Fields of this client alone, and those that it leaves out. */
  more?: string[]
  less?: string[]
}
const { specified, recorded, none } = readFixtureJson('beacon/answers.json') as {
  specified: Asked[]
  recorded: Seen[]
  none: { client: string; status: 400 | 404 }[]
}
type Vector = Parameters<typeof depositOfVector>[0]
const [deposit] = (readFixtureJson('vectors/deposit_data.json') as { cases: Vector[] }).cases

const network = networks.hoodi
let beacon: Beacon
beforeAll(async () => {
  beacon = await startBeacon({ network, validators: 2 })
  beacon.addValidator({ publicKey: madeUpKey(1_000), status: 'pending_queued' })
  if (deposit !== undefined) beacon.addPendingDeposits(depositOfVector(deposit))
})
afterAll(() => beacon?.[Symbol.asyncDispose]())

const answerTo = ({ ask: words, json }: Pick<Asked, 'ask' | 'json'>) => {
  const [method = '', path = ''] = words.split(' ')
  return ask(beacon.url, path, { method, ...(json === undefined ? {} : { body: json }) })
}

/** The names of an answer, and of which form its values are. */
function formOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(formOf)
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, formOf(part)]))
  if (typeof value === 'boolean') return 'flag'
  if (typeof value !== 'string') return typeof value
  if (/^(0|[1-9]\d*)$/.test(value)) return 'decimal'
  return /^0x([0-9a-f]{2})*$/i.test(value) ? `0x${value.length / 2 - 1}` : 'text'
}

describe('as the beacon API has it', () => {
  it.each(specified.map((asked) => [asked.ask, JSON.stringify(asked.json) ?? '', asked] as const))(
    '%s %s',
    async (_, __, asked) => {
      const { status, json } = await answerTo(asked)
      expect([status, formOf(json)]).toEqual([asked.status, asked.body])
    },
  )
})

describe('as real clients answer', () => {
  const cases = recorded.filter(({ ask: words }) => !words.endsWith('/spec'))
  it.each(cases.map((seen) => [seen.client, seen.ask, seen] as const))('%s to %s', async (_, __, seen) => {
    beacon.setStep(seen.step)
    const { status, json } = await answerTo(seen)
    beacon.setStep(undefined)
    const form = formOf(seen.body) as Record<string, unknown>
    const ours = formOf(json) as Record<string, unknown>
    for (const name of seen.more ?? []) delete form[name]
    for (const name of seen.less ?? []) delete ours[name]
    expect([status, ours]).toEqual([seen.status, form])
  })

  it('what they run with, by the names and forms of one of them, and its values where they are the network’s', async () => {
    const theirs = recorded.find(({ ask: words }) => words.endsWith('/spec'))?.body as { data: Record<string, string> }
    const ours = (await answerTo({ ask: 'GET /eth/v1/config/spec' })).json as { data: Record<string, unknown> }
    // Names that came later.
    const { SLOT_DURATION_MS: _, BLOB_SCHEDULE: __, ...data } = ours.data
    expect(formOf(data)).toEqual(formOf(theirs.data))
    const read =
      /^(CONFIG_NAME|PRESET_BASE|(GENESIS|CAPELLA)_FORK_|SECONDS_PER_SLOT|SLOTS_PER_EPOCH|DEPOSIT_C|(MIN|MAX)_.*(AMOUNT|BALANCE)|DOMAIN_)/
    const valuesOf = (of: Record<string, unknown>) =>
      Object.entries(of).flatMap(([name, value]) => (read.test(name) ? [[name, String(value).toLowerCase()]] : []))
    expect(Object.fromEntries(valuesOf(data))).toEqual(Object.fromEntries(valuesOf(theirs.data)))
  })

  it.each(none)('$client refuses to name a validator that is not there with $status', async ({ status }) => {
    const quirky = await startBeacon({ network, validators: 2, quirks: { none: status } })
    await using _ = quirky
    const answer = await ask(quirky.url, '/eth/v1/beacon/states/head/validators/2')
    expect([answer.status, formOf(answer.json)]).toEqual([status, { code: 'number', message: 'text' }])
  })
})
