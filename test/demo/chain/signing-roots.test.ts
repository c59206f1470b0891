import { readFileSync } from 'node:fs'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { expect, test } from 'vitest'
import { depositRoot, exitRoot } from './signing-roots.ts'

type Name = 'mainnet' | 'hoodi' | 'gnosis'
interface Vectors {
  networks: { network: Name; exits: { epoch: string; validator_index: string; signing_root: string }[] }[]
}
interface Deposits {
  cases: { network: Name; pubkey: string; withdrawal_credentials: string; amount_gwei: string; signing_root: string }[]
}
const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../fixtures/vectors/${name}.json`, import.meta.url), 'utf8'))

test('the signing roots of exits are those of the vectors', () => {
  const cases = (read('signing_roots') as Vectors).networks.flatMap(({ network, exits }) =>
    exits
      .filter(({ validator_index: index }) => Number.isSafeInteger(Number(index)))
      .map((exit) => ({ ...exit, network: networks[network] })),
  )
  expect(cases.length).toBeGreaterThan(5)
  for (const { network, epoch, validator_index, signing_root } of cases)
    expect(toHex(exitRoot(network, { epoch: Number(epoch), validatorIndex: Number(validator_index) }))).toBe(
      signing_root,
    )
})

test('the signing roots of deposits are those of the vectors', () => {
  const { cases } = read('deposit_data') as Deposits
  expect(cases.length).toBeGreaterThan(5)
  for (const { network, pubkey, withdrawal_credentials, amount_gwei, signing_root } of cases) {
    const deposit = {
      publicKey: fromHex(pubkey, 48),
      withdrawalCredentials: fromHex(withdrawal_credentials, 32),
      amountGwei: BigInt(amount_gwei),
    }
    expect(toHex(depositRoot(networks[network], deposit))).toBe(signing_root)
  }
})
