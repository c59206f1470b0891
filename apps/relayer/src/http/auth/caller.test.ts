import { expect, it } from 'vitest'
import { ANYBODY, type Caller, identityOf, signingNode, signingOracle, UNBOUND, UNPROVEN } from './caller.ts'

const lockOf = (byte: number, shareIndex: number) => ({ lockHash: Buffer.alloc(32, byte), shareIndex }) as never
const token: Caller = { name: 'a', role: 'operator', ...UNBOUND }

it('is known by its token, by a key, or not at all', () => {
  const oracle = new Uint8Array(20)
  const known: [Caller, ReturnType<typeof identityOf>][] = [
    [ANYBODY, null],
    [token, 'token'],
    [{ ...token, role: 'oracle', oracles: [oracle] }, 'token'],
    [signingOracle(oracle), 'oracle_key'],
    [signingNode('node:0x11', { locks: [] }), 'node_key'],
    [signingNode('operator:5', { operatorId: 5 } as never), 'operator_key'],
    [UNPROVEN, 'node_key'],
  ]
  for (const [caller, identity] of known) expect(identityOf(caller), String(identity)).toBe(identity)
})

it('may ask for keys of no vault unless it is bound, and everything where no tokens are set', () => {
  expect([ANYBODY, token].map(({ mayHaveUnowned }) => mayHaveUnowned)).toEqual([true, true])
  expect(ANYBODY).toMatchObject({ role: 'admin', vaults: undefined, oracles: undefined, shareIndexes: undefined })
})

it('speaks for each share index that its key has, once, and for none before its body is read', () => {
  const node = { locks: [lockOf(1, 3), lockOf(2, 3), lockOf(3, 1)] }
  expect(signingNode('node:0x11', node)).toEqual({
    ...UNBOUND,
    name: 'node:0x11',
    role: 'sidecar',
    shareIndexes: [3, 1],
    node,
  })
  expect(signingNode('operator:5', { operatorId: 5 } as never).shareIndexes).toEqual([5])
  expect(UNPROVEN.shareIndexes).toEqual([])
})
