"""A suite of GPT-NeoX models small enough to train here in minutes: vocabulary, corpus, models,
training.
"""
