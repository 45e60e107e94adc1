"""Sketches, by hand, of proofs of ten statements of miniF2F that the automated prover does not prove alone."""

SKETCHES = {
    "test/algebra_sqineq_at2malt1": """
        assert (S : 0 <= (a - 1) * (a - 1)). { exact (Rle_0_sqr (a - 1)). }
        admit.""",
    "test/mathd_algebra_113": """
        assert (S : 0 <= (x - 7) * (x - 7)). { exact (Rle_0_sqr (x - 7)). }
        admit.""",
    "test/mathd_algebra_143": "intros f g Hf Hg. rewrite Hf. rewrite Hg. admit.",
    "test/mathd_algebra_346": "intros f g Hf Hg. rewrite Hg. rewrite Hf. admit.",
    "test/mathd_algebra_80": """
        intros x Hx H.
        assert (D : x + 1 <> 0). { admit. }
        assert (E : x - 9 = 2 * (x + 1)). { rewrite <- H. admit. }
        admit.""",
    "valid/mathd_algebra_159": "intros b f H E. rewrite H in E. admit.",
    "valid/mathd_algebra_181": """
        intros n Hn H.
        assert (D : n - 3 <> 0). { admit. }
        assert (E : n + 5 = 2 * (n - 3)). { rewrite <- H. admit. }
        admit.""",
    "valid/mathd_algebra_214": """
        intros a f H E. rewrite H in E.
        assert (A : 4 * a = 1). { admit. }
        rewrite H. admit.""",
    "valid/mathd_algebra_251": """
        intros x Hx H.
        assert (E : 3 * x + 1 = 7).
        { assert (A : x * (3 + 1 / x) = x * (7 / x)). { rewrite H. reflexivity. }
          assert (B : x * (3 + 1 / x) = 3 * x + 1). { admit. }
          assert (C : x * (7 / x) = 7). { admit. }
          rewrite <- B. rewrite A. exact C. }
        admit.""",
    "valid/mathd_algebra_43": "rewrite h0 in h1. rewrite h0 in h2. rewrite h0. admit.",
}
