import { expect, it } from 'vitest'
import { countUnnamed } from './unnamed-vaults.ts'

const VAULT = `0x${'ab'.repeat(20)}`
const share = (validatorPublicKey: string, withdrawalAddress?: string) => ({ validatorPublicKey, withdrawalAddress })
const SHARES = [share('a'), share('b', VAULT), share('c'), share('a')]

it.each([
  ['each once that no lock names', ['exits', 'validators'], [], 2],
  ['also where exits alone are not signed', ['validators'], [], 2],
  ['none where one vault is allowed', ['exits', 'validators'], [VAULT], 0],
  ['none where no deposit is signed', ['exits'], [], 0],
] as const)('counts validators whose vault nothing names: %s', (_, lists, allowedVaults, count) => {
  const config = { lists, deposits: { allowedVaults } }
  expect(countUnnamed(config as never, SHARES)).toBe(count)
})
