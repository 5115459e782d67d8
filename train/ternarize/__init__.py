"""Makes a full-precision text-to-image model ternary or binary, from prompts alone.

    python -m train.ternarize --model TEACHER --out STUDENT --bits ternary --prompts FILE
"""
