/**
 * Every attack of `npm run attack`, once and briefly: nobody honest is failed, and a relayer holds no more than the documents say. How
 * long anybody waits is the program's to say: no test knows how fast its machine is.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ATTACKS } from '../attack/attacks.ts'
import { MOST_BYTES, strayAnswers } from '../attack/report.ts'
import { runAttack } from '../attack/run.ts'
import { type AttackStage, createAttackStage } from '../attack/stage.ts'
import { skipWithoutAnvil } from '../support/chain/anvil.ts'

const PACE = { rounds: 1, warmTimes: 0, quietTimes: 0, times: 18, everyMs: 33 }

describe.skipIf(skipWithoutAnvil)('beside', () => {
  let stage: AttackStage
  beforeAll(async () => {
    stage = await createAttackStage()
  })
  afterAll(() => stage?.[Symbol.asyncDispose]())

  it.each(ATTACKS.map((attack) => [attack.name, attack] as const))('%s', async (_, attack) => {
    const { errors, beside, peakBytes, answers, left } = await runAttack(stage, attack, PACE)
    expect(errors).toEqual([])
    expect(strayAnswers({ attack, answers })).toEqual([])
    for (const samples of Object.values(beside)) expect(samples.length).toBe(PACE.times)
    expect(peakBytes || 0).toBeLessThan(MOST_BYTES)
    expect(left?.isRight === false ? left.text : 'right').toBe('right')
  })
})
