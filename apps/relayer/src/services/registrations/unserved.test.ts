import { createLogger } from '@dvt-relayer/common/log/logger.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { expect, it } from 'vitest'
import { createEvents } from '../../events.ts'
import { createUnserved, whyUnserved } from './unserved.ts'

const vaultOf = (byte: number) => Buffer.alloc(20, byte)
const keys = (vault: Buffer | null, free: number, reserved = 0) => ({ vault, free, reserved })
const OWN = vaultOf(0x11)

it('says of a vault that no lock names whose keys there are', () => {
  const named = (byte: number) => checksumAddress(vaultOf(byte))
  expect(whyUnserved(OWN, [keys(vaultOf(0x22), 5, 1), keys(vaultOf(0x33), 0), keys(vaultOf(0x44), 0, 2)]).reason).toBe(
    `no lock and no line of PUBLIC_KEYS_FILE names it: the 5 free keys can only go to ${named(0x22)}`,
  )
  expect(whyUnserved(OWN, [keys(vaultOf(0x22), 1)]).reason).toMatch(`the 1 free key can only go to ${named(0x22)}`)
  expect(
    whyUnserved(
      OWN,
      [0x22, 0x33, 0x44].map((byte) => keys(vaultOf(byte), 1)),
    ).reason,
  ).toMatch(new RegExp(`can only go to ${named(0x22)}, ${named(0x33)}, ${named(0x44)}$`))
  expect(
    whyUnserved(
      OWN,
      [0x22, 0x33, 0x44, 0x55].map((byte) => keys(vaultOf(byte), 1)),
    ).reason,
  ).toBe(
    `no lock and no line of PUBLIC_KEYS_FILE names it: the 4 free keys can only go to ${named(0x22)}, ${named(0x33)}, ${named(0x44)} and 1 more`,
  )
})

it('says that none is left, or that those it could have are not to be had', () => {
  expect(whyUnserved(OWN, []).reason).toMatch(/^no imported key is left/)
  expect(whyUnserved(OWN, [keys(OWN, 0), keys(null, 0)]).reason).toMatch(/^no imported key is left/)
  for (const left of [keys(OWN, 0, 2), keys(null, 1)])
    expect(whyUnserved(OWN, [left, keys(vaultOf(0x22), 9)]).reason).toMatch(/^the keys it could have are reserved/)
})

it('calls no key another vault’s that it has only reserved', () => {
  for (const reserved of [1, 3])
    expect(whyUnserved(OWN, [keys(vaultOf(0x22), 0, reserved)]).reason).toBe(
      'the keys that are left are reserved for other vaults, or named for them',
    )
})

it('says nothing of others to who may see of its own vault alone', () => {
  const { reason, reasonOfItsOwn } = whyUnserved(OWN, [keys(vaultOf(0x22), 5)])
  expect(reason).toMatch(/0x2222/)
  expect(reasonOfItsOwn).toBe('no free key is named for it: ask whoever runs the relayer')
})

it('keeps what it could not write', async () => {
  const failing = { select: () => ({ from: () => ({ where: () => Promise.reject(new Error('away')) }) }) }
  const events = createEvents(createLogger({ level: 'silent', format: 'json' }))
  const unserved = createUnserved({ db: failing as never, events })
  unserved.note({ vault: OWN, amountsGwei: [1], caller: null })
  await expect(unserved.write()).rejects.toThrow('away')
  // Were it forgotten, there would be nothing to write.
  await expect(unserved.write()).rejects.toThrow('away')
})

it('logs each vault once a minute, and whatever is asked for in bounded kinds of lines', () => {
  const lines: Record<string, unknown>[] = []
  const destination = { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) }
  const events = createEvents(createLogger({ level: 'info', format: 'json', destination }))
  let now = 0
  const unserved = createUnserved({ db: undefined as never, events }, () => now)
  const ask = (vault: Buffer) => unserved.note({ vault, amountsGwei: [1, 1], caller: 'operator-1' })
  for (let times = 0; times < 100; times++) ask(OWN)
  expect(lines).toMatchObject([{ vault: checksumAddress(OWN), validators: 2, requester: 'operator-1' }])
  now += 60_000
  ask(OWN)
  expect(lines).toHaveLength(2)
  for (let byte = 0; byte < 200; byte++) ask(vaultOf(byte))
  expect(lines).toHaveLength(5)
  events.flush()
  expect(lines.slice(5)).toMatchObject([{ requester: 'operator-1', times: expect.any(Number) }])
})
