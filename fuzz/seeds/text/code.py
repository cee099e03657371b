from os import system as s
class A:
  def __init__(self, a=f"{s(1):>{w}}"): getattr(s, "x")()
A()
