/** The story's generation 3: the operator names its validators with `POST /validators` and gets the shares for the oracles. */

import { toHex } from '@dvt-relayer/common/hex.ts'
import { askForShares } from '../actors/operator.ts'
import { startKeeperChain } from '../chain/keeper-chain.ts'
import { exitRoot } from '../chain/signing-roots.ts'
import { DemoError } from '../errors.ts'
import { type Generation, keysOf, type Message, type Registered } from './scene.ts'

/** Starts the nodes. */
export async function startGeneration3(running: AsyncDisposableStack): Promise<Generation> {
  const chain = await startKeeperChain(running)
  const { network, beacon } = chain
  const messages: Message[] = []
  return {
    number: 3,
    chain,
    list: 'exits',
    kinds: ['exit'],
    goods: 'all shares for the oracles',
    async ask({ cluster, stage, signal, story }, half) {
      const keys = keysOf(cluster, half)
      const shares = await askForShares(stage.relayerUrl, keys.map(toHex), signal)
      return async () => {
        // Here nobody else deposits, so the validators get the indexes that were predicted.
        const first = beacon.addValidators(...keys)
        story.say(`The operator registers validators ${first} to ${first + keys.length - 1} on chain.`)
        return keys.map((key, position): Registered => {
          const [publicKey, validatorIndex] = [toHex(key), first + position]
          const found = shares.get(publicKey)
          if (found === undefined) throw new DemoError('the operator has no shares of a validator that it asked for')
          const exit = { epoch: network.capellaEpoch, validatorIndex }
          messages.push({ kind: 'exit', publicKey, root: exitRoot(network, exit) })
          return { publicKey, validatorIndex, ...found }
        })
      }
    },
    messages,
    secrets: async () => [],
    hints: (spare) => [{ path: 'validators', body: { public_keys: spare }, remark: 'twice' }],
  }
}
